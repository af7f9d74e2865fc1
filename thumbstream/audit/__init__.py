"""`thumbstream audit`: do the books balance? Every accepted event is stored, refused or parked, at every hop.

Nothing here is shared with the stages but the contract in `schemas`: events are folded, votes counted and rows looked
for a second time, in the plainest way, and compared with what the product has published and stored.
"""
