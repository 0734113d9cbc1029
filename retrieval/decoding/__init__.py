"""The steps from an encoded photo to upright sRGB pixels; `retrieval.decoder` combines them."""
