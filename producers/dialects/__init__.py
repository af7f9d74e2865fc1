"""Vendors' feedback APIs and our own, each as pure functions from request to events and from outcome to reply.

A further dialect is one module with a `Dialect` and its entries in `routing.ROUTES`.
"""
