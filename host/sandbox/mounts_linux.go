package sandbox

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// codeDir is where the compiled module is in the new root.
const codeDir = "/code"

// rootSize bounds what the new root holds: directories to mount on, and nothing after it is read-only.
const rootSize = "64k"

// moveOut leaves the file system for an empty root that holds the compiled module's directory and nothing else, all of it
// read-only and neither executable nor with devices. It uses the mount calls of Linux 5.2 and mount_setattr of 5.12,
// which work on descriptors: the new root needs no place in the old one, and nothing hides what is to be kept.
func (c *Cage) moveOut() error {
	// Nothing that is mounted here may show elsewhere, nor the other way round.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	code := -1
	if c.config.CodeDir != "" {
		var err error
		if code, err = c.cloneCode(); err != nil {
			return fmt.Errorf("keep %s: %w", c.config.CodeDir, err)
		}
		defer unix.Close(code)
	}
	tasks, err := cloneTasks()
	if err != nil {
		return fmt.Errorf("keep the list of threads: %w", err)
	}
	root, err := newRoot()
	if err != nil {
		return fmt.Errorf("make an empty root: %w", err)
	}
	defer unix.Close(root)
	if err := enterRoot(root); err != nil {
		return fmt.Errorf("move to an empty root: %w", err)
	}
	if code >= 0 {
		if err := attach(code, codeDir); err != nil {
			return fmt.Errorf("mount %s: %w", codeDir, err)
		}
		c.CodeDir = codeDir
	}
	if tasks >= 0 {
		defer unix.Close(tasks)
		if err := attach(tasks, tasksPath()); err != nil {
			return fmt.Errorf("mount %s: %w", tasksPath(), err)
		}
	}
	if err := harden(root, true); err != nil {
		return fmt.Errorf("make the root read-only: %w", err)
	}
	return nil
}

// cloneCode makes a mount of the compiled module's directory that is not in any tree yet.
func (c *Cage) cloneCode() (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, c.config.CodeDir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("open_tree", err)
	}
	if err := harden(fd, !c.config.WriteCode); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// harden takes away what nobody needs on a mount. Flags that are set already, and perhaps locked, stay.
func harden(fd int, readOnly bool) error {
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOSYMFOLLOW}
	if readOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	return os.NewSyscallError("mount_setattr", unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr))
}

// newRoot makes an empty file system that is not mounted anywhere yet.
func newRoot() (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	for _, option := range [][2]string{{"size", rootSize}, {"mode", "755"}} {
		if err := unix.FsconfigSetString(fs, option[0], option[1]); err != nil {
			return -1, os.NewSyscallError("fsconfig", err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, os.NewSyscallError("fsconfig", err)
	}
	root, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	return root, os.NewSyscallError("fsmount", err)
}

// enterRoot makes a detached mount the root of this process and throws the old one away. It lies over the old root for a
// moment: pivot_root(2) wants a mount point, and "." for both makes the old root lie over the new one until it is gone.
func enterRoot(root int) error {
	if err := unix.MoveMount(root, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return os.NewSyscallError("move_mount", err)
	}
	if err := unix.Fchdir(root); err != nil {
		return os.NewSyscallError("fchdir", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return os.NewSyscallError("pivot_root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return os.NewSyscallError("umount2", err)
	}
	return os.NewSyscallError("chdir", unix.Chdir("/"))
}

// attach puts a detached mount at path, which is made.
func attach(fd int, path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	return os.NewSyscallError("move_mount", unix.MoveMount(fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH))
}
