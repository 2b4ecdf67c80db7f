"""What a detector is shown beside single images: folders, patterns, films and cameras."""
