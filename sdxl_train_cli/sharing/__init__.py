"""A trained file made ready for others: with a card, previews and hashes, and without what tells of its maker."""
