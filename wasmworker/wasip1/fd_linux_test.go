package wasip1

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// zoo is one descriptor of each sort.
type zoo struct {
	listener, preopened, stream, reader, writer, file, virtual uint64
	closed                                                     uint64 // a number that is not open

	peer, toReader, fromWriter *os.File
	path                       string
}

func newZoo(t *testing.T, g *testGuest) *zoo {
	t.Helper()
	z := &zoo{closed: 1000}
	raw, _ := listenTCP(t)
	fd, errno := g.sys.OpenListener(raw, false, nil)
	ok(t, errno)
	z.listener = uint64(fd)
	raw, _ = listenTCP(t)
	fd, errno = g.sys.OpenListener(raw, true, nil)
	ok(t, errno)
	z.preopened = uint64(fd)
	fd, z.peer = stream(t, g.sys, fdflagNonblock)
	z.stream = uint64(fd)
	fd, z.toReader = pipe(t, g.sys, rightFdRead, fdflagNonblock)
	z.reader = uint64(fd)
	fd, z.fromWriter = pipe(t, g.sys, rightFdWrite, fdflagNonblock)
	z.writer = uint64(fd)
	fd, z.path = file(t, g.sys, "0123456789")
	z.file = uint64(fd)
	fd, errno = g.sys.OpenVirtual(&fakeVirtual{})
	ok(t, errno)
	z.virtual = uint64(fd)
	return z
}

// fakeVirtual is ready for what the test says.
type fakeVirtual struct{ ready uint32 }

func (v *fakeVirtual) Ready() uint32 { return v.ready }

// fdCase is a call on a descriptor of the zoo.
type fdCase struct {
	name   string
	fd     uint64
	params []uint64 // after fd
	errno  Errno
}

func runCases(t *testing.T, g *testGuest, function string, cases []fdCase) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			g.tb = t
			g.want(tt.errno, function, append([]uint64{tt.fd}, tt.params...)...)
		})
	}
	g.tb = t
}

// p is parameters.
func p(params ...uint64) []uint64 { return params }

const past = memorySize - 1 // a pointer to the last byte, where no number fits

func TestFdClose(t *testing.T) {
	g := newGuest(t, Config{})
	z := newZoo(t, g)
	before := descriptorsOpen(t)
	runCases(t, g, "fd_close", []fdCase{
		{"a number that is not open", z.closed, nil, abi.EBADF},
		{"the largest number", 1<<32 - 1, nil, abi.EBADF},
		{"a listener", z.listener, nil, 0},
		{"a listener twice", z.listener, nil, abi.EBADF},
		{"a preopened listener", z.preopened, nil, 0},
		{"a connection", z.stream, nil, 0},
		{"a pipe", z.reader, nil, 0},
		{"a file", z.file, nil, 0},
		{"a virtual descriptor", z.virtual, nil, 0},
	})
	if closed := before - descriptorsOpen(t); closed != 5 {
		t.Errorf("%d descriptors of Linux are closed, want 5", closed)
	}
	if g.sys.figures.Connections != 0 {
		t.Errorf("%d connections open", g.sys.figures.Connections)
	}
}

func descriptorsOpen(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	return len(list)
}

// A guest that closes its standard streams must not free Linux descriptors 0 to 2: the next accept would be given one,
// and what this process writes to its stderr would go to a client.
func TestClosingTheStandardStreamsKeepsOurs(t *testing.T) {
	g := newGuest(t, Config{})
	for n := range 3 {
		check(t, g.sys.OpenStdio(n))
	}
	listener, addr := openListener(t, g.sys)
	for n := range uint64(3) {
		g.want(0, "fd_close", n)
		if _, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0); err != nil {
			t.Errorf("Linux descriptor %d: %v", n, err)
		}
	}
	dial(t, addr)
	fd := acceptOne(t, g.sys, listener)
	if e, _ := g.sys.table.get(fd); fd != 0 || e.fd <= 2 {
		t.Errorf("the connection is %d, on Linux %d; want 0, on Linux above 2", fd, e.fd)
	}
}

func TestRenumberOntoAStandardStreamKeepsOurs(t *testing.T) {
	g := newGuest(t, Config{})
	for n := range 3 {
		check(t, g.sys.OpenStdio(n))
	}
	fd, _ := stream(t, g.sys, 0)
	g.want(0, "fd_renumber", uint64(fd), 2)
	g.want(0, "fd_renumber", 1, 2) // and back again
	if _, err := unix.FcntlInt(2, unix.F_GETFD, 0); err != nil {
		t.Errorf("Linux descriptor 2: %v", err)
	}
}

func TestOpenStdio(t *testing.T) {
	s := newSystem(t, Config{})
	if err := s.OpenStdio(1 << 20); err == nil {
		t.Error("a descriptor that is not open is opened")
	}
	for n := range 3 {
		check(t, s.OpenStdio(n))
		st, errno := s.FdFdstatGet(uint32(n))
		ok(t, errno)
		want := uint64(rightFdWrite)
		if n == 0 {
			want = rightFdRead
		}
		if got := st.Rights & (rightFdRead | rightFdWrite); got != want {
			t.Errorf("stream %d has rights %#x, want %#x", n, got, want)
		}
	}
}

func TestFdRenumber(t *testing.T) {
	g := newGuest(t, Config{})
	z := newZoo(t, g)
	runCases(t, g, "fd_renumber", []fdCase{
		{"from a number that is not open", z.closed, p(z.stream), abi.EBADF},
		{"onto a number that is not open", z.stream, p(z.closed), abi.EBADF},
		{"onto the largest number, which would grow the table", z.stream, p(1<<32 - 1), abi.EBADF},
		{"onto itself", z.stream, p(z.stream), 0},
		{"onto a preopened listener", z.stream, p(z.preopened), 0},
		{"the old number is free then", z.stream, p(z.preopened), abi.EBADF},
	})
	g.want(0, "fd_fdstat_get", z.preopened, 0)
	if g.mem[0] != filetypeSocketStream {
		t.Error("the connection is not at its new number")
	}
	g.want(abi.EBADF, "fd_prestat_get", z.preopened, 0)
	fd, _ := stream(t, g.sys, 0)
	if uint64(fd) != z.stream {
		t.Errorf("the next descriptor is %d, want %d", fd, z.stream)
	}
}

func TestFdFdstatGet(t *testing.T) {
	g := newGuest(t, Config{})
	z := newZoo(t, g)
	runCases(t, g, "fd_fdstat_get", []fdCase{
		{"a number that is not open", z.closed, p(0), abi.EBADF},
		{"a pointer past the end", z.stream, p(memorySize - fdstatSize + 1), abi.EFAULT},
	})
	for _, tt := range []struct {
		name     string
		fd       uint64
		filetype uint8
		flags    uint16
	}{
		{"a listener is a socket and non-blocking", z.listener, filetypeSocketStream, fdflagNonblock},
		{"a preopened listener turns non-blocking by being asked", z.preopened, filetypeSocketStream, fdflagNonblock},
		{"a connection is a socket", z.stream, filetypeSocketStream, fdflagNonblock},
		{"a file", z.file, filetypeRegular, 0},
		{"the inbox", z.virtual, filetypeUnknown, fdflagNonblock},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st, errno := g.sys.FdFdstatGet(uint32(tt.fd))
			ok(t, errno)
			if st.Filetype != tt.filetype || st.Flags != tt.flags {
				t.Errorf("type %d, flags %#x; want %d, %#x", st.Filetype, st.Flags, tt.filetype, tt.flags)
			}
		})
	}
	if st, _ := g.sys.FdFdstatGet(uint32(z.listener)); st.Inheriting != streamRights {
		t.Errorf("a listener's connections inherit %#x, want %#x", st.Inheriting, uint64(streamRights))
	}
}

func TestFdFdstatSetFlags(t *testing.T) {
	g := newGuest(t, Config{})
	z := newZoo(t, g)
	runCases(t, g, "fd_fdstat_set_flags", []fdCase{
		{"a number that is not open", z.closed, p(0), abi.EBADF},
		{"NONBLOCK off a connection", z.stream, p(0), 0},
		{"NONBLOCK on a connection", z.stream, p(fdflagNonblock), 0},
		{"NONBLOCK off a listener", z.listener, p(0), 0},
		{"APPEND is for files", z.stream, p(fdflagAppend), abi.EINVAL},
		{"APPEND on a file", z.file, p(fdflagAppend), 0},
		{"DSYNC is not supported", z.file, p(fdflagDsync), abi.ENOTSUP},
		{"RSYNC is not supported", z.file, p(fdflagRsync), abi.ENOTSUP},
		{"SYNC is not supported", z.stream, p(fdflagSync), abi.ENOTSUP},
		{"an unknown flag", z.stream, p(1 << 5), abi.EINVAL},
		{"a flag beyond 16 bits is not cut off", z.stream, p(1 << 16), abi.EINVAL},
	})
	e, _ := g.sys.table.get(uint32(z.stream))
	if flags, err := unix.FcntlInt(uintptr(e.fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("the open file description has flags %#x, %v: others share it", flags, err)
	}
	g.want(0, "fd_fdstat_set_rights", z.stream, 0, 0)
	g.want(abi.ENOTCAPABLE, "fd_fdstat_set_flags", z.stream, 0)
}

func TestFdFdstatSetRights(t *testing.T) {
	g := newGuest(t, Config{})
	z := newZoo(t, g)
	runCases(t, g, "fd_fdstat_set_rights", []fdCase{
		{"a number that is not open", z.closed, p(0, 0), abi.EBADF},
		{"the rights it has", z.stream, p(streamRights, 0), 0},
		{"less", z.stream, p(streamRights&^rightFdWrite, 0), 0},
		{"a right that was taken away does not come back", z.stream, p(streamRights, 0), abi.ENOTCAPABLE},
		{"a right that it never had", z.stream, p(rightSockAccept, 0), abi.ENOTCAPABLE},
		{"a bit that is no right", z.stream, p(1<<63, 0), abi.ENOTCAPABLE},
		{"a connection has nothing to inherit", z.stream, p(0, rightFdRead), abi.ENOTCAPABLE},
		{"a listener's connections get less", z.listener, p(rightSockAccept|rightPollFdReadwrite, rightFdRead|rightPollFdReadwrite), 0},
	})
	g.want(abi.ENOTCAPABLE, "fd_write", z.stream, 0, 0, 0)
}

func TestConnectionsInheritTheListenersRights(t *testing.T) {
	s := newSystem(t, Config{})
	listener, addr := openListener(t, s)
	ok(t, s.FdFdstatSetRights(listener, rightSockAccept, rightFdRead))
	dial(t, addr)
	fd := acceptOne(t, s, listener)
	_, errno := s.FdWrite(fd, vec([]byte("x")))
	wantErrno(t, errno, abi.ENOTCAPABLE)
}

func TestFdFilestatGet(t *testing.T) {
	g := newGuest(t, Config{})
	z := newZoo(t, g)
	runCases(t, g, "fd_filestat_get", []fdCase{
		{"a number that is not open", z.closed, p(0), abi.EBADF},
		{"a pointer past the end", z.file, p(memorySize - filestatSize + 1), abi.EFAULT},
		{"a connection", z.stream, p(0), 0},
		{"the inbox", z.virtual, p(0), 0},
		{"a file", z.file, p(0), 0},
	})
	if g.mem[16] != filetypeRegular || g.u64(24) != 1 || g.u64(32) != 10 || g.u64(48) == 0 {
		t.Errorf("the file's stat is %x", g.mem[:filestatSize])
	}
	g.want(0, "fd_fdstat_set_rights", z.file, 0, 0)
	g.want(abi.ENOTCAPABLE, "fd_filestat_get", z.file, 0)
}

func TestFdPrestat(t *testing.T) {
	g := newGuest(t, Config{})
	z := newZoo(t, g)
	runCases(t, g, "fd_prestat_get", []fdCase{
		{"a number that is not open ends a libc's search", z.closed, p(0), abi.EBADF},
		{"a connection is not preopened", z.stream, p(0), abi.EBADF},
		{"a listener that the guest asked for is not preopened", z.listener, p(0), abi.EBADF},
		{"a preopened listener", z.preopened, p(0), 0},
		{"a pointer past the end", z.preopened, p(memorySize - prestatSize + 1), abi.EFAULT},
	})
	runCases(t, g, "fd_prestat_dir_name", []fdCase{
		{"a number that is not open", z.closed, p(0, 0), abi.EBADF},
		{"a connection is not preopened", z.stream, p(0, 0), abi.EBADF},
		{"the empty name of a preopened listener", z.preopened, p(0, 0), 0},
		{"any buffer holds it", z.preopened, p(0, 100), 0},
		{"a buffer past the end", z.preopened, p(memorySize, 1), abi.EFAULT},
	})
}

func TestFdSync(t *testing.T) {
	g := newGuest(t, Config{})
	z := newZoo(t, g)
	for _, function := range []string{"fd_sync", "fd_datasync"} {
		runCases(t, g, function, []fdCase{
			{"a number that is not open", z.closed, nil, abi.EBADF},
			{"a file", z.file, nil, 0},
			{"a connection is no file", z.stream, nil, abi.EINVAL},
			{"a listener is no file", z.listener, nil, abi.EINVAL},
			{"the inbox is no file", z.virtual, nil, abi.EINVAL},
			{"a pipe has no right to it", z.reader, nil, abi.ENOTCAPABLE},
		})
	}
}

// What changes or advises about a file is for descriptors that no guest has.
func TestFdChangesAreRefused(t *testing.T) {
	g := newGuest(t, Config{})
	z := newZoo(t, g)
	for function, params := range map[string][]uint64{
		"fd_advise": p(0, 0, 0), "fd_allocate": p(0, 1), "fd_filestat_set_size": p(0), "fd_filestat_set_times": p(0, 0, 0),
	} {
		stream := abi.ENOTCAPABLE
		if function == "fd_advise" || function == "fd_allocate" {
			stream = abi.ESPIPE
		}
		t.Run(function, func(t *testing.T) {
			runCases(t, g, function, []fdCase{
				{"a number that is not open", z.closed, params, abi.EBADF},
				{"a connection", z.stream, params, stream},
				{"a file without the right", z.file, params, abi.ENOTCAPABLE},
			})
			e, _ := g.sys.table.get(uint32(z.file))
			e.rights |= rightFdAdvise | rightFdAllocate | rightFdFilestatSetSize | rightFdFilestatSetTimes
			runCases(t, g, function, []fdCase{{"a file with the right", z.file, params, abi.ENOTSUP}})
			e.rights &^= rightFdAdvise | rightFdAllocate | rightFdFilestatSetSize | rightFdFilestatSetTimes
		})
	}
}

func TestFdReaddir(t *testing.T) {
	g := newGuest(t, Config{})
	z := newZoo(t, g)
	runCases(t, g, "fd_readdir", []fdCase{
		{"a number that is not open", z.closed, p(0, 0, 0, 0), abi.EBADF},
		{"a connection is no directory", z.stream, p(0, 0, 0, 0), abi.ENOTDIR},
		{"a file is no directory", z.file, p(0, 0, 0, 0), abi.ENOTDIR},
		{"a buffer past the end", z.file, p(memorySize, 1, 0, 0), abi.EFAULT},
		{"a size past the end", z.file, p(0, 0, 0, past), abi.EFAULT},
	})
}

// Files come later: no descriptor that a guest can have is a directory.
func TestPathCalls(t *testing.T) {
	g := newGuest(t, Config{})
	z := newZoo(t, g)
	e, _ := g.sys.table.get(uint32(z.file))
	for _, tt := range []struct {
		function string
		params   []uint64 // fd is at fd, path and length follow each at of paths, outs are pointers to so many bytes
		fd       int
		paths    []int
		outs     map[int]uint64
	}{
		{"path_create_directory", p(0, 0, 3), 0, []int{1}, nil},
		{"path_filestat_get", p(0, 0, 0, 3, 0), 0, []int{2}, map[int]uint64{4: 64}},
		{"path_filestat_set_times", p(0, 0, 0, 3, 0, 0, 0), 0, []int{2}, nil},
		{"path_link", p(0, 0, 0, 3, 0, 0, 3), 0, []int{2, 5}, nil},
		{"path_open", p(0, 0, 0, 3, 0, 0, 0, 0, 0), 0, []int{2}, map[int]uint64{8: 4}},
		{"path_readlink", p(0, 0, 3, 0, 3, 0), 0, []int{1, 3}, map[int]uint64{5: 4}},
		{"path_remove_directory", p(0, 0, 3), 0, []int{1}, nil},
		{"path_rename", p(0, 0, 3, 0, 0, 3), 0, []int{1, 4}, nil},
		{"path_symlink", p(0, 3, 0, 0, 3), 2, []int{0, 3}, nil},
		{"path_unlink_file", p(0, 0, 3), 0, []int{1}, nil},
	} {
		t.Run(tt.function, func(t *testing.T) {
			g.tb = t
			call := func(errno Errno, fd uint64, at int, v uint64) {
				t.Helper()
				params := append([]uint64(nil), tt.params...)
				params[tt.fd] = fd
				if at >= 0 {
					params[at] = v
				}
				g.want(errno, tt.function, params...)
			}
			call(abi.EBADF, z.closed, -1, 0)
			call(abi.ENOTDIR, z.stream, -1, 0)
			call(abi.ENOTDIR, z.listener, -1, 0)
			call(abi.ENOTDIR, z.file, -1, 0)
			for _, at := range tt.paths {
				call(abi.EFAULT, z.file, at, memorySize-2)
				call(abi.EFAULT, z.file, at+1, memorySize+1)
			}
			for at, size := range tt.outs {
				call(abi.EFAULT, z.file, at, memorySize-size+1)
			}
			// A directory on standard input, which `wcluster run < .` makes.
			e.filetype = filetypeDirectory
			call(abi.ENOTCAPABLE, z.file, -1, 0)
			e.filetype = filetypeRegular
		})
	}
}
