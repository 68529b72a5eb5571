package wasip1

import (
	"slices"
	"testing"

	"github.com/wcluster/wcluster/abi"
)

// Every pointer of every function, past the end of memory: EFAULT, before anything is done that cannot be undone.
func TestPointersPastTheEnd(t *testing.T) {
	const some = 512 // a pointer that is good
	type pointers map[int]uint64
	for _, tt := range []struct {
		function string
		params   func(z *zoo) []uint64
		sizes    pointers // what each pointer among the parameters points at, in bytes
	}{
		{"args_get", func(*zoo) []uint64 { return p(some, some) }, pointers{0: 8, 1: 5}},
		{"args_sizes_get", func(*zoo) []uint64 { return p(some, some) }, pointers{0: 4, 1: 4}},
		{"environ_get", func(*zoo) []uint64 { return p(some, some) }, pointers{0: 4, 1: 4}},
		{"environ_sizes_get", func(*zoo) []uint64 { return p(some, some) }, pointers{0: 4, 1: 4}},
		{"clock_res_get", func(*zoo) []uint64 { return p(0, some) }, pointers{1: 8}},
		{"clock_time_get", func(*zoo) []uint64 { return p(0, 0, some) }, pointers{2: 8}},
		{"fd_fdstat_get", func(z *zoo) []uint64 { return p(z.stream, some) }, pointers{1: fdstatSize}},
		{"fd_filestat_get", func(z *zoo) []uint64 { return p(z.file, some) }, pointers{1: filestatSize}},
		{"fd_pread", func(z *zoo) []uint64 { return p(z.file, some, 1, 0, some) }, pointers{1: iovecSize, 4: 4}},
		{"fd_prestat_get", func(z *zoo) []uint64 { return p(z.preopened, some) }, pointers{1: prestatSize}},
		{"fd_prestat_dir_name", func(z *zoo) []uint64 { return p(z.preopened, some, 9) }, pointers{1: 9}},
		{"fd_pwrite", func(z *zoo) []uint64 { return p(z.file, some, 1, 0, some) }, pointers{1: iovecSize, 4: 4}},
		{"fd_read", func(z *zoo) []uint64 { return p(z.stream, some, 1, some) }, pointers{1: iovecSize, 3: 4}},
		{"fd_readdir", func(z *zoo) []uint64 { return p(z.file, some, 9, 0, some) }, pointers{1: 9, 4: 4}},
		{"fd_seek", func(z *zoo) []uint64 { return p(z.file, 1, 1, some) }, pointers{3: 8}},
		{"fd_tell", func(z *zoo) []uint64 { return p(z.file, some) }, pointers{1: 8}},
		{"fd_write", func(z *zoo) []uint64 { return p(z.stream, some, 1, some) }, pointers{1: iovecSize, 3: 4}},
		{"path_create_directory", func(z *zoo) []uint64 { return p(z.file, some, 3) }, pointers{1: 3}},
		{"path_filestat_get", func(z *zoo) []uint64 { return p(z.file, 0, some, 3, some) }, pointers{2: 3, 4: filestatSize}},
		{"path_filestat_set_times", func(z *zoo) []uint64 { return p(z.file, 0, some, 3, 0, 0, 0) }, pointers{2: 3}},
		{"path_link", func(z *zoo) []uint64 { return p(z.file, 0, some, 3, z.file, some, 3) }, pointers{2: 3, 5: 3}},
		{"path_open", func(z *zoo) []uint64 { return p(z.file, 0, some, 3, 0, 0, 0, 0, some) }, pointers{2: 3, 8: 4}},
		{"path_readlink", func(z *zoo) []uint64 { return p(z.file, some, 3, some, 3, some) }, pointers{1: 3, 3: 3, 5: 4}},
		{"path_remove_directory", func(z *zoo) []uint64 { return p(z.file, some, 3) }, pointers{1: 3}},
		{"path_rename", func(z *zoo) []uint64 { return p(z.file, some, 3, z.file, some, 3) }, pointers{1: 3, 4: 3}},
		{"path_symlink", func(z *zoo) []uint64 { return p(some, 3, z.file, some, 3) }, pointers{0: 3, 3: 3}},
		{"path_unlink_file", func(z *zoo) []uint64 { return p(z.file, some, 3) }, pointers{1: 3}},
		{"poll_oneoff", func(*zoo) []uint64 { return p(some, some, 1, some) }, pointers{0: subscriptionSize, 1: eventSize, 3: 4}},
		{"random_get", func(*zoo) []uint64 { return p(some, 9) }, pointers{0: 9}},
		{"sock_accept", func(z *zoo) []uint64 { return p(z.listener, 0, some) }, pointers{2: 4}},
		{"sock_recv", func(z *zoo) []uint64 { return p(z.stream, some, 1, 0, some, some) }, pointers{1: iovecSize, 4: 4, 5: 2}},
		{"sock_send", func(z *zoo) []uint64 { return p(z.stream, some, 1, 0, some) }, pointers{1: iovecSize, 4: 4}},
	} {
		t.Run(tt.function, func(t *testing.T) {
			g := newGuest(t, Config{Args: []string{"a", "bc"}, Env: []string{"K=V"}})
			z := newZoo(t, g)
			before := slices.Clone(g.mem)
			for at, size := range tt.sizes {
				for _, bad := range []uint64{memorySize - size + 1, memorySize, 1<<32 - size, 1<<32 - 1, 1 << 31} {
					params := tt.params(z)
					params[at] = bad
					g.want(abi.EFAULT, tt.function, params...)
				}
			}
			if !slices.Equal(g.mem, before) {
				t.Error("a call that answers EFAULT has stored something")
			}
			if pos, errno := g.sys.FdTell(uint32(z.file)); pos != 0 || errno != 0 {
				t.Errorf("a call that answers EFAULT has moved the file to %d, %v", pos, errno)
			}
			if g.sys.figures.BytesOut != 0 || g.sys.figures.BytesIn != 0 {
				t.Error("a call that answers EFAULT has moved bytes")
			}
			// All together good: whatever it answers, it is not EFAULT.
			if errno := g.call(tt.function, tt.params(z)...); errno == abi.EFAULT {
				t.Error("EFAULT for good pointers")
			}
		})
	}
}
