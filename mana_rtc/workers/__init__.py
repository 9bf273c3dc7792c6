"""Media in processes of its own (``manage.py mana_sfu``), which the nodes command over the channel layer.

A room is on one worker: a row of ``Placement`` says on which, and its worker's row says that it lives. What travels
over the layer may be lost, repeated and reordered: commands are sent again under the same id until they are answered,
events are numbered and asked for again, and node and worker compare twice a second who they think is there.
"""
