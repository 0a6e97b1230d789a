"""The simulator against what it simulates: first calls over TCP, cascades through live proxies."""
