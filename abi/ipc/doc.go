// Package ipc is the frames' wire on Linux: a Unix stream socketpair with SCM_RIGHTS.
//
//	Writer: frames ─► one buffer ─► sendmsg(2) ══ socketpair ══ recvmsg(2) ─► Reader: frames
//	              fds ──► beside the first byte of their frame ──► a group a recvmsg, a group a frame
//
// A stream, not datagrams: many small frames ride in one system call, and a frame may be larger than the socket's
// buffer. A frame with descriptors always begins a sendmsg of its own, and the kernel never merges what follows a
// descriptor-carrying segment into one recvmsg (unix_stream_read_generic), so descriptors and headers stay in step
// however the bytes are split, and stay so when some were lost because the receiver's table was full.
//
// Reader and Writer are single-threaded and never wait: EAGAIN is an answer. A worker drives them from its epoll loop,
// the master through Conn, which waits in the Go runtime's poller. The package knows frames, not what they mean.
package ipc
