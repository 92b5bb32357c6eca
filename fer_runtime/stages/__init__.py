"""What is done to a batch of items: whole images are classified, or the faces in them are."""
