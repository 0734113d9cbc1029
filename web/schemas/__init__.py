"""The requests and responses of the JSON API; validation and the OpenAPI document both follow from these models."""
