"""The experiment: data, models, training, and the runs that make the tables."""
