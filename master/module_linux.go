package master

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi/ipc"
)

// maxModule bounds a module file: 1 GiB is far beyond what compiles, and it is held in memory.
const maxModule = 1 << 30

// module is a module's bytes, as read once: what is compiled is what runs, whatever becomes of the file.
type module struct {
	fd   *ipc.FD // a sealed memfd
	hash [sha256.Size]byte
	size int64
}

// readModule copies the file at path. Its errors are one clear line each.
func readModule(path string) (*module, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, moduleError(path, err)
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, moduleError(path, err)
	case info.IsDir():
		return nil, fmt.Errorf("read module %s: it is a directory; give the path of a .wasm file", path)
	case info.Size() > maxModule:
		return nil, fmt.Errorf("read module %s: %d bytes, at most %d", path, info.Size(), int64(maxModule))
	}
	m, err := copyModule(file)
	if err != nil {
		return nil, moduleError(path, err)
	}
	return m, nil
}

// noModule says that there is no file at path.
type noModule struct{ path string }

func (e noModule) Error() string {
	return fmt.Sprintf("read module %s: no such file; give the path of a .wasm file", e.path)
}

func (noModule) Unwrap() error { return fs.ErrNotExist }

func moduleError(path string, err error) error {
	var pathErr *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return noModule{path}
	case errors.As(err, &pathErr):
		return fmt.Errorf("read module %s: %w", path, pathErr.Err)
	default:
		return fmt.Errorf("read module %s: %w", path, err)
	}
}

var (
	errEmptyModule = errors.New("the file is empty; give a .wasm file built for wasip1")
	errLargeModule = fmt.Errorf("more than %d bytes", int64(maxModule))
)

func copyModule(from io.Reader) (*module, error) {
	fd, err := newMemfd("module")
	if err != nil {
		return nil, err
	}
	m := &module{fd: fd}
	hash := sha256.New()
	// The file may grow while it is read, or be a pipe: the bound is enforced here, whatever Stat said.
	m.size, err = io.Copy(memfdWriter{fd}, io.TeeReader(io.LimitReader(from, maxModule+1), hash))
	switch {
	case err != nil:
	case m.size == 0:
		err = errEmptyModule
	case m.size > maxModule:
		err = errLargeModule
	default:
		err = seal(fd, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE|unix.F_SEAL_SEAL)
	}
	if err != nil {
		fd.Close()
		return nil, err
	}
	hash.Sum(m.hash[:0])
	return m, nil
}

// open makes a descriptor for another process. Opening anew rather than duplicating gives each its own file offset,
// and none that can write.
func (m *module) open() (*ipc.FD, error) {
	path := fmt.Sprintf("/proc/self/fd/%d", m.fd.Int())
	n, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return ipc.NewFD(n), nil
}

// memfdWriter appends to a memfd.
type memfdWriter struct{ fd *ipc.FD }

func (w memfdWriter) Write(p []byte) (n int, err error) {
	for n < len(p) {
		k, err := unix.Write(w.fd.Int(), p[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, os.NewSyscallError("write", err)
		}
		n += k
	}
	return n, nil
}

// newMemfd makes an anonymous file that can be sealed. MFD_NOEXEC_SEAL would be right as well, but needs Linux 6.3.
func newMemfd(name string) (*ipc.FD, error) {
	n, err := unix.MemfdCreate("wcluster-"+name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return ipc.NewFD(n), nil
}

func seal(fd *ipc.FD, seals int) error {
	_, err := unix.FcntlInt(uintptr(fd.Int()), unix.F_ADD_SEALS, seals)
	return os.NewSyscallError("fcntl", err)
}
