"""What a diagnosis is made from: a run or checkpoints become subjects, images and embedding tables."""
