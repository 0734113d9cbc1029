"""The pages. The server renders each URL completely; scripts only avoid reloads."""

from flask import Blueprint

from web.page import add, map, overview, photo, photos, review, saved, search, selection
from web.page.cards import shown_score

blueprint = Blueprint("page", __name__)
blueprint.add_app_template_filter(shown_score)
blueprint.add_url_rule("/", "show", search.show)
blueprint.add_url_rule("/", "upload", search.upload, methods=["POST"])
blueprint.add_url_rule("/photo/<uuid:photo>", "photo", photo.show)
blueprint.add_url_rule("/photo/<uuid:photo>", "correct", photo.correct, methods=["POST"])
blueprint.add_url_rule("/photos", "photos", photos.show)
blueprint.add_url_rule("/saved/<string:name>", "saved", saved.show)
blueprint.add_url_rule("/selection", "selection", selection.show)
blueprint.add_url_rule("/map", "map", map.show)
blueprint.add_url_rule("/review", "review", review.show)
blueprint.add_url_rule("/add", "add", add.show)
blueprint.add_url_rule("/add", "start", add.start, methods=["POST"])
blueprint.add_url_rule("/add/model", "install", add.install, methods=["POST"])
blueprint.add_url_rule("/jobs", "jobs", overview.show_jobs)
blueprint.add_url_rule("/models", "models", overview.show_models)
