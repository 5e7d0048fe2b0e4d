"""What is settled for classification alone: images, model, augmentation, evaluation."""
