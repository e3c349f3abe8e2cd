"""The crawl: WARC records become text (decode, extract, normalise, language), and raw sources become split documents.

Every document that was read keeps a row with the decision about it; what cannot be read is in the quarantine.
"""
