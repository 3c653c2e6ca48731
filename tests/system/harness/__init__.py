"""What the system tests share: WBXML codec, device, server, administrator, bad server."""
