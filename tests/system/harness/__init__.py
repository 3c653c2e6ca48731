"""What the system tests share: a WBXML codec, a device, a server, an administrator, a bad server."""
