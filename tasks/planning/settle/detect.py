"""What is settled for detection alone: images, model, augmentation, evaluation."""
