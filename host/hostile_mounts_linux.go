//go:build hostile

package host

import "golang.org/x/sys/unix"

// mountAttacks change what the process sees of the machine: mounts, roots, namespaces.
var mountAttacks = []attack{
	{"mount", "mount", "proc, with everybody in it", func(p *prisoner) error {
		return ask(unix.SYS_MOUNT, p.text("proc"), p.text("/code"), p.text("proc"), 0, 0)
	}},
	{"remount-code", "mount", "the compiled module to write to", func(p *prisoner) error {
		return ask(unix.SYS_MOUNT, 0, p.text("/code"), 0, unix.MS_REMOUNT|unix.MS_BIND, 0)
	}},
	{"remount-root", "mount_setattr", "a root to write to", func(p *prisoner) error {
		return ask(unix.SYS_MOUNT_SETATTR, here, p.text("/"), 0, p.words(0, unix.MOUNT_ATTR_RDONLY, 0, 0), unix.MOUNT_ATTR_SIZE_VER0)
	}},
	{"unmount", "umount2", "what lies under a mount", func(p *prisoner) error {
		return ask(unix.SYS_UMOUNT2, p.text("/code"), unix.MNT_DETACH)
	}},
	{"pivot-root", "pivot_root", "another root", func(p *prisoner) error {
		return ask(unix.SYS_PIVOT_ROOT, p.text("/code"), p.text("/code"))
	}},
	{"chroot", "chroot", "a root to climb out of", func(p *prisoner) error { return ask(unix.SYS_CHROOT, p.text("/code")) }},
	{"new-file-system", "fsopen", "a file system of its own", func(p *prisoner) error {
		return ask(unix.SYS_FSOPEN, p.text("tmpfs"), 0)
	}},
	{"configure-file-system", "fsconfig", "a file system of its own", asks(unix.SYS_FSCONFIG, stdin, unix.FSCONFIG_CMD_CREATE, 0, 0, 0)},
	{"pick-file-system", "fspick", "options of a mounted one", func(p *prisoner) error {
		return ask(unix.SYS_FSPICK, here, p.text("/"), 0)
	}},
	{"mount-file-system", "fsmount", "a file system of its own", asks(unix.SYS_FSMOUNT, stdin, 0, 0)},
	{"copy-tree", "open_tree", "the tree without its locks", func(p *prisoner) error {
		return ask(unix.SYS_OPEN_TREE, here, p.text("/"), unix.OPEN_TREE_CLONE)
	}},
	{"copy-tree-2", "open_tree_attr", "the same, by a newer call", func(p *prisoner) error {
		return ask(unix.SYS_OPEN_TREE_ATTR, here, p.text("/"), unix.OPEN_TREE_CLONE, p.words(0, unix.MOUNT_ATTR_RDONLY, 0, 0), unix.MOUNT_ATTR_SIZE_VER0)
	}},
	{"move-mount", "move_mount", "another root", func(p *prisoner) error {
		return ask(unix.SYS_MOVE_MOUNT, stdin, p.text(""), here, p.text("/"), unix.MOVE_MOUNT_F_EMPTY_PATH)
	}},
	{"list-mounts", "listmount", "the machine's mounts", func(p *prisoner) error {
		return ask(unix.SYS_LISTMOUNT, p.words(24, listRoot, 0), p.room(256), 32, 0)
	}},
	{"look-at-mount", "statmount", "the machine's mounts", func(p *prisoner) error {
		return ask(unix.SYS_STATMOUNT, p.words(24, 1, 1), p.room(512), 512, 0)
	}},
	{"new-user-namespace", "unshare", "every capability, in a namespace of its own", asks(unix.SYS_UNSHARE, unix.CLONE_NEWUSER)},
	{"new-mount-namespace", "unshare", "mounts of its own", asks(unix.SYS_UNSHARE, unix.CLONE_NEWNS)},
	{"new-network-namespace", "unshare", "a network of its own", asks(unix.SYS_UNSHARE, unix.CLONE_NEWNET)},
	{"unshare-descriptors", "unshare", "a table of descriptors that the host does not know", asks(unix.SYS_UNSHARE, unix.CLONE_FILES)},
	{"enter-namespace", "setns", "another's namespaces", asks(unix.SYS_SETNS, stdin, 0)},
	{"clone-into-namespaces", "clone", "every capability, in a child", func(*prisoner) error {
		return clone(unix.CLONE_NEWUSER | unix.CLONE_NEWNS | uintptr(unix.SIGCHLD))
	}},
	{"thread-into-namespace", "clone", "a network of its own, in a thread", asks(unix.SYS_CLONE, threadFlags|unix.CLONE_NEWNET)},
}

// listRoot is LSMT_ROOT of listmount(2).
const listRoot = 1<<64 - 1

// threadFlags are those that a thread of this process has, in pthread_create(3) as in the Go runtime.
const threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD
