"""The page of a report: one HTML file; needs the extra ``report``, imported when it is made."""
