"""What any program needs: files, locks, paths, devices, resources, heartbeats, archives, text.

Imports `errors` alone.
"""
