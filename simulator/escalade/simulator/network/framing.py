"""What gRPC adds to messages on the wire, as virtual time and calls in process reckon with it."""

#: What gRPC adds to the messages of a call on a warm connection, TCP/IP headers excluded:
#: midpoints of +66-104 B up and +64-98 B down, measured for this project over loopback.
#: A first call adds 385 B and 242 B, which are not counted, of calls that dial neither.
GRPC_BYTES_UP = 85
GRPC_BYTES_DOWN = 81

#: Of a further message of a stream: gRPC's prefix (a flag, 4 bytes of length) and the header of an
#: HTTP/2 frame (RFC 9113, section 4.1).
FRAMING_BYTES = 5 + 9
