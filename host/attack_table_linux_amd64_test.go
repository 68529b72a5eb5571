package host_test

func init() { trials = append(trials, olderTrials...) }

// olderTrials are those that only this architecture has.
var olderTrials = []trial{
	{"fork ends the process", "fork", killed},
	{"so does vfork", "vfork", killed},
	{"the host's files cannot be opened with open", "open-old", "open: EPERM"},
	{"nor can any be made with creat", "create-old", "creat: EPERM"},
	{"nor be looked at with stat", "stat-old", "stat: EPERM"},
	{"nor with access", "access-old", "access: EPERM"},
	{"nor links be read with readlink", "read-link-old", "readlink: EPERM"},
	{"nor directories be made with mkdir", "make-directory-old", "mkdir: EPERM"},
	{"nor the compiled module be renamed with rename", "rename-old", "rename: EPERM"},
	{"nor descriptors be duplicated with dup2", "duplicate-2", "dup2: EPERM"},
	{"nor epoll instances be made with epoll_create", "epoll-old", "epoll_create: EPERM"},
	{"the kernel's own code is mapped once", "map-vdso", "arch_prctl: EEXIST or arch_prctl: EINVAL"},
	{"ports end the process", "ports", killed},
	{"so do all ports", "all-ports", killed},
	{"so do segments", "segments", killed},
	{"so does another kernel from a file", "another-kernel-file", killed},
	{"a call of x32 ends the process", "x32-getpid", killed},
	{"so does opening a file by x32", "x32-open", killed},
	{"so does executing a program by x32", "x32-execve", killed},
	{"a call of i386 ends the process", "int80-getpid", killed},
	{"so does opening a file by i386", "int80-open", killed},
	{"so does a socket by i386", "int80-socketcall", killed},
	{"no thread has descriptors of its own", "thread-with-own-descriptors", "clone: EPERM"},
	{"a thread bomb comes to an end", "thread-bomb", "clone: EAGAIN"},
}
