"""Audio and video calls for django-mana: the SFU and its signaling."""
