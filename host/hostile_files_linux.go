//go:build hostile

package host

import "golang.org/x/sys/unix"

// evidence is the name that whatever is made anywhere gets, for the test to look for.
const evidence = "wcluster-hostile"

// fileAttacks read what is the host's, and leave something behind.
var fileAttacks = []attack{
	{"open-file", "openat", "the host's users", opens("/etc/passwd", unix.O_RDONLY)},
	{"open-upwards", "openat", "files above the root", opens("../../../../etc/passwd", unix.O_RDONLY)},
	{"open-beside-device", "openat", "files beside the one that is open as standard input", func(p *prisoner) error {
		return ask(unix.SYS_OPENAT, stdin, p.text("../etc/passwd"), unix.O_RDONLY)
	}},
	{"openat2", "openat2", "the host's users, by a newer call", func(p *prisoner) error {
		return ask(unix.SYS_OPENAT2, here, p.text("/etc/passwd"), p.words(unix.O_RDONLY, 0, 0), 24)
	}},
	{"open-own-memory", "openat", "a way to write into code that is only readable", opens("/proc/self/mem", unix.O_RDWR)},
	{"open-code", "openat", "the compiled module's directory", opens("/code", unix.O_RDONLY|unix.O_DIRECTORY)},
	{"open-root", "openat", "a descriptor of the root, to climb from", opens("/", unix.O_PATH)},
	{"create-in-root", "openat", "a file of its own", opens("/"+evidence, unix.O_CREAT|unix.O_WRONLY)},
	{"create-in-code", "openat", "code for the next worker that loads the module", opens("/code/"+evidence, unix.O_CREAT|unix.O_WRONLY)},
	{"create-nameless", "openat", "room on a disk that nobody sees", opens("/code", unix.O_TMPFILE|unix.O_WRONLY)},
	{"open-by-wide-number", "openat", "a call whose number differs where only a filter would look", func(p *prisoner) error {
		return ask(1<<32|unix.SYS_OPENAT, here, p.text("/etc/passwd"), unix.O_RDONLY)
	}},
	{"stat", "newfstatat", "what is there", func(p *prisoner) error {
		return ask(unix.SYS_NEWFSTATAT, here, p.text("/code"), p.room(256), 0)
	}},
	{"statx", "statx", "what is there, by a newer call", func(p *prisoner) error {
		return ask(unix.SYS_STATX, here, p.text("/code"), 0, unix.STATX_ALL, p.room(256))
	}},
	{"statfs", "fstatfs", "which file system it is on", func(p *prisoner) error {
		return ask(unix.SYS_FSTATFS, stdin, p.room(256))
	}},
	{"list-directory", "getdents64", "the names in a directory", func(p *prisoner) error {
		return ask(unix.SYS_GETDENTS64, stdin, p.room(1024), 1024)
	}},
	{"read-link", "readlinkat", "the path of the host binary", func(p *prisoner) error {
		return ask(unix.SYS_READLINKAT, here, p.text("/proc/self/exe"), p.room(256), 256)
	}},
	{"access", "faccessat2", "what exists", func(p *prisoner) error {
		return ask(unix.SYS_FACCESSAT2, here, p.text("/code"), 0, 0)
	}},
	{"working-directory", "getcwd", "where it is", func(p *prisoner) error {
		return ask(unix.SYS_GETCWD, p.room(256), 256)
	}},
	{"change-directory", "chdir", "a place to look from", func(p *prisoner) error {
		return ask(unix.SYS_CHDIR, p.text("/code"))
	}},
	{"make-directory", "mkdirat", "a place of its own", func(p *prisoner) error {
		return ask(unix.SYS_MKDIRAT, here, p.text("/"+evidence), 0o700)
	}},
	{"make-directory-in-code", "mkdirat", "a place for code", func(p *prisoner) error {
		return ask(unix.SYS_MKDIRAT, here, p.text("/code/"+evidence), 0o700)
	}},
	{"make-device", "mknodat", "the machine's memory or disks", func(p *prisoner) error {
		return ask(unix.SYS_MKNODAT, here, p.text("/"+evidence), unix.S_IFCHR|0o600, 1<<8|1)
	}},
	{"symlink", "symlinkat", "a trap for whoever follows it", func(p *prisoner) error {
		return ask(unix.SYS_SYMLINKAT, p.text("/etc/passwd"), here, p.text("/code/"+evidence))
	}},
	{"link", "linkat", "a name for what is open", func(p *prisoner) error {
		return ask(unix.SYS_LINKAT, stdin, p.text(""), here, p.text("/code/"+evidence), unix.AT_EMPTY_PATH)
	}},
	{"rename-code", "renameat2", "code of another module in this one's place", func(p *prisoner) error {
		return ask(unix.SYS_RENAMEAT2, here, p.text("/code"), here, p.text("/"+evidence), 0)
	}},
	{"remove-code", "unlinkat", "no module for the next worker", func(p *prisoner) error {
		return ask(unix.SYS_UNLINKAT, here, p.text("/code/"+evidence), 0)
	}},
	{"truncate", "truncate", "an empty module for the next worker", func(p *prisoner) error {
		return ask(unix.SYS_TRUNCATE, p.text("/code/"+evidence), 0)
	}},
	{"chmod", "fchmodat", "a directory that others may write to", func(p *prisoner) error {
		return ask(unix.SYS_FCHMODAT, here, p.text("/code"), 0o777)
	}},
	{"chmod-2", "fchmodat2", "the same, by a newer call", func(p *prisoner) error {
		return ask(unix.SYS_FCHMODAT2, here, p.text("/code"), 0o777, 0)
	}},
	{"chown", "fchownat", "the module's directory as its own", func(p *prisoner) error {
		return ask(unix.SYS_FCHOWNAT, here, p.text("/code"), 0, 0, 0)
	}},
	{"touch", "utimensat", "a cache entry that looks fresh", func(p *prisoner) error {
		return ask(unix.SYS_UTIMENSAT, here, p.text("/code"), 0, 0)
	}},
	{"set-attribute", "setxattr", "a capability on a file", func(p *prisoner) error {
		return ask(unix.SYS_SETXATTR, p.text("/code"), p.text("user.hostile"), p.room(1), 1, 0)
	}},
	{"name-handle", "name_to_handle_at", "a handle to guess others from", func(p *prisoner) error {
		return ask(unix.SYS_NAME_TO_HANDLE_AT, here, p.text("/code"), p.handle(), p.room(8), 0)
	}},
	{"open-handle", "open_by_handle_at", "any file of a file system, by its number", func(p *prisoner) error {
		return ask(unix.SYS_OPEN_BY_HANDLE_AT, stdin, p.handle(), unix.O_RDONLY)
	}},
	{"fill-disk", "fallocate", "a full disk", func(p *prisoner) error {
		return ask(unix.SYS_FALLOCATE, stdin, 0, 0, 1<<30)
	}},
	{"grow-file", "ftruncate", "a full disk", asks(unix.SYS_FTRUNCATE, stdin, 1<<40)},
	{"sync", "sync", "a machine that waits for its disks", asks(unix.SYS_SYNC)},
	{"copy-range", "copy_file_range", "data moved inside the kernel", asks(unix.SYS_COPY_FILE_RANGE, stdin, 0, stdout, 0, 1, 0)},
	{"sendfile", "sendfile", "data moved inside the kernel", asks(unix.SYS_SENDFILE, stdout, stdin, 0, 1)},
	{"splice", "splice", "page cache inside a pipe", asks(unix.SYS_SPLICE, stdin, 0, stdout, 0, 1, 0)},
	{"tee", "tee", "page cache inside a pipe", asks(unix.SYS_TEE, stdin, stdout, 1, 0)},
	{"vmsplice", "vmsplice", "memory inside a pipe", func(p *prisoner) error {
		return ask(unix.SYS_VMSPLICE, stdout, p.words(0, 0), 1, 0)
	}},
	{"watch-files", "inotify_init1", "what others do with files", asks(unix.SYS_INOTIFY_INIT1, 0)},
	{"watch-all-files", "fanotify_init", "what everybody does with files", asks(unix.SYS_FANOTIFY_INIT, unix.FAN_CLASS_NOTIF, 0)},
	{"memory-file", "memfd_create", "a file to execute or to pass on", func(p *prisoner) error {
		return ask(unix.SYS_MEMFD_CREATE, p.text(evidence), 0)
	}},
	{"secret-memory-file", "memfd_secret", "memory that the kernel does not see", asks(unix.SYS_MEMFD_SECRET, 0)},
	{"executable-pages-of-file", "mmap", "code from a file", asks(unix.SYS_MMAP, 0, pageSize, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE, stdin, 0)},
}

// handle is a file_handle with room for 128 bytes of handle.
func (p *prisoner) handle() uintptr { return p.bytes(append([]byte{128}, make([]byte, 7+128)...)) }

// opens is the try of opening a path.
func opens(path string, flags int) func(*prisoner) error {
	return func(p *prisoner) error {
		return ask(unix.SYS_OPENAT, here, p.text(path), uintptr(flags), 0o600)
	}
}
