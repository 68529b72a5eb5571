package sandbox

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// tasksPath is where libpsx, which a program with cgo needs to reach all of its threads, lists them.
func tasksPath() string { return "/proc/" + strconv.Itoa(os.Getpid()) + "/task" }

// cloneTasks makes a mount of tasksPath that is not in any tree yet, or answers -1 where nobody needs one. It is the one
// thing beside the compiled module that such a program keeps: its own threads, which it can open nothing of once it is
// sealed.
func cloneTasks() (int, error) {
	if !cgo {
		return -1, nil
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, tasksPath(), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("open_tree", err)
	}
	if err := harden(fd, true); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
