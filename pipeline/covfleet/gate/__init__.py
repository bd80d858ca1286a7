"""The stage ``gate``: is the coverage good enough?"""
