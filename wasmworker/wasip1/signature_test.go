package wasip1

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"
)

// preview1 is wasi_snapshot_preview1 as its specification has it (phases/snapshot/docs.md of the WASI repository), each
// function with its parameters as they are lowered to core Wasm. A string or list is a pointer and a length, a result is
// a pointer at the end.
const preview1 = `
args_get(argv i32, argv_buf i32)
args_sizes_get(count i32, size i32)
environ_get(environ i32, environ_buf i32)
environ_sizes_get(count i32, size i32)
clock_res_get(id i32, resolution i32)
clock_time_get(id i32, precision i64, time i32)
fd_advise(fd i32, offset i64, len i64, advice i32)
fd_allocate(fd i32, offset i64, len i64)
fd_close(fd i32)
fd_datasync(fd i32)
fd_fdstat_get(fd i32, stat i32)
fd_fdstat_set_flags(fd i32, flags i32)
fd_fdstat_set_rights(fd i32, base i64, inheriting i64)
fd_filestat_get(fd i32, stat i32)
fd_filestat_set_size(fd i32, size i64)
fd_filestat_set_times(fd i32, atim i64, mtim i64, flags i32)
fd_pread(fd i32, iovs i32, iovs_len i32, offset i64, size i32)
fd_prestat_get(fd i32, prestat i32)
fd_prestat_dir_name(fd i32, path i32, path_len i32)
fd_pwrite(fd i32, iovs i32, iovs_len i32, offset i64, size i32)
fd_read(fd i32, iovs i32, iovs_len i32, size i32)
fd_readdir(fd i32, buf i32, buf_len i32, cookie i64, size i32)
fd_renumber(fd i32, to i32)
fd_seek(fd i32, offset i64, whence i32, position i32)
fd_sync(fd i32)
fd_tell(fd i32, position i32)
fd_write(fd i32, iovs i32, iovs_len i32, size i32)
path_create_directory(fd i32, path i32, path_len i32)
path_filestat_get(fd i32, flags i32, path i32, path_len i32, stat i32)
path_filestat_set_times(fd i32, flags i32, path i32, path_len i32, atim i64, mtim i64, fst_flags i32)
path_link(old_fd i32, old_flags i32, old_path i32, old_len i32, new_fd i32, new_path i32, new_len i32)
path_open(fd i32, dirflags i32, path i32, path_len i32, oflags i32, base i64, inheriting i64, fdflags i32, opened i32)
path_readlink(fd i32, path i32, path_len i32, buf i32, buf_len i32, size i32)
path_remove_directory(fd i32, path i32, path_len i32)
path_rename(fd i32, old_path i32, old_len i32, new_fd i32, new_path i32, new_len i32)
path_symlink(old_path i32, old_len i32, fd i32, new_path i32, new_len i32)
path_unlink_file(fd i32, path i32, path_len i32)
poll_oneoff(in i32, out i32, nsubscriptions i32, nevents i32)
proc_exit(code i32)
proc_raise(signal i32)
sched_yield()
random_get(buf i32, buf_len i32)
sock_accept(fd i32, flags i32, connection i32)
sock_recv(fd i32, iovs i32, iovs_len i32, ri_flags i32, size i32, ro_flags i32)
sock_send(fd i32, iovs i32, iovs_len i32, si_flags i32, size i32)
sock_shutdown(fd i32, how i32)
`

// specified parses preview1: the function's name and its parameters as letters.
func specified(t *testing.T) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(strings.TrimSpace(preview1)) {
		name, params, _ := strings.Cut(strings.TrimSpace(line), "(")
		letters := ""
		for param := range strings.SplitSeq(strings.TrimSuffix(params, ")"), ", ") {
			switch {
			case strings.HasSuffix(param, " i32"):
				letters += "i"
			case strings.HasSuffix(param, " i64"):
				letters += "I"
			case param != "":
				t.Fatalf("%s: parameter %q", name, param)
			}
		}
		all[name] = letters
	}
	if len(all) != 46 {
		t.Fatalf("preview 1 has 46 functions, not %d", len(all))
	}
	return all
}

func letters(types []api.ValueType) string {
	s := ""
	for _, t := range types {
		s += map[api.ValueType]string{api.ValueTypeI32: "i", api.ValueTypeI64: "I"}[t]
	}
	return s
}

func TestFunctionsAreThoseOfPreview1(t *testing.T) {
	want := specified(t)
	for _, f := range newSystem(t, Config{}).Functions() {
		params, ok := want[f.Name]
		delete(want, f.Name)
		results := "i"
		if f.Name == "proc_exit" {
			results = ""
		}
		switch {
		case !ok:
			t.Errorf("%s is not of preview 1, or stands there twice", f.Name)
		case letters(f.Params) != params:
			t.Errorf("%s takes %s, want %s", f.Name, letters(f.Params), params)
		case letters(f.Results) != results:
			t.Errorf("%s answers %q, want %q", f.Name, letters(f.Results), results)
		}
	}
	for name := range want {
		t.Errorf("%s is missing", name)
	}
}

func TestProcExitUnwindsWithTheCode(t *testing.T) {
	g := newGuest(t, Config{})
	for _, code := range []uint32{0, 1, 42, 255, 256, 1<<32 - 1} {
		err := recovered(func() {
			g.functions["proc_exit"].Call(context.Background(), g.module, []uint64{uint64(code) | garbage})
		})
		var exit *sys.ExitError
		if e, _ := err.(error); !errors.As(e, &exit) || exit.ExitCode() != code {
			t.Errorf("proc_exit(%d) unwinds with %v", code, err)
		}
	}
}

// recovered is what call panics with.
func recovered(call func()) (with any) {
	defer func() { with = recover() }()
	call()
	return nil
}
