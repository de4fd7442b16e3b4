"""The door: TLS handshake, verdict on the certificate, the stream behind it. The only importer of OpenSSL."""
