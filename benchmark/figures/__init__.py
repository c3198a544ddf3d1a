"""Pictures of scenes, predictions, features and datasets."""
