package wasip1

import (
	"context"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"
)

// ModuleName is the module that guests import preview 1 from.
const ModuleName = "wasi_snapshot_preview1"

// Function is one import as wazero takes it.
type Function struct {
	Name            string
	Params, Results []api.ValueType
	Call            api.GoModuleFunc
}

// call is one function: it decodes p, the guest's parameters, calls the System and encodes the answer. An i32 arrives
// in a uint64 whose upper half is garbage: always through u32.
type call func(s *System, m Memory, p []uint64) Errno

// imports is preview 1: the guest's name, its parameters (i is i32, I is i64), the call.
var imports = []struct {
	name, params string
	call         call
}{
	{"args_get", "ii", argsGet},
	{"args_sizes_get", "ii", argsSizesGet},
	{"environ_get", "ii", environGet},
	{"environ_sizes_get", "ii", environSizesGet},
	{"clock_res_get", "ii", clockResGet},
	{"clock_time_get", "iIi", clockTimeGet},
	{"fd_advise", "iIIi", fdAdvise},
	{"fd_allocate", "iII", fdAllocate},
	{"fd_close", "i", fdClose},
	{"fd_datasync", "i", fdDatasync},
	{"fd_fdstat_get", "ii", fdFdstatGet},
	{"fd_fdstat_set_flags", "ii", fdFdstatSetFlags},
	{"fd_fdstat_set_rights", "iII", fdFdstatSetRights},
	{"fd_filestat_get", "ii", fdFilestatGet},
	{"fd_filestat_set_size", "iI", fdFilestatSetSize},
	{"fd_filestat_set_times", "iIIi", fdFilestatSetTimes},
	{"fd_pread", "iiiIi", fdPread},
	{"fd_prestat_dir_name", "iii", fdPrestatDirName},
	{"fd_prestat_get", "ii", fdPrestatGet},
	{"fd_pwrite", "iiiIi", fdPwrite},
	{"fd_read", "iiii", fdRead},
	{"fd_readdir", "iiiIi", fdReaddir},
	{"fd_renumber", "ii", fdRenumber},
	{"fd_seek", "iIii", fdSeek},
	{"fd_sync", "i", fdSync},
	{"fd_tell", "ii", fdTell},
	{"fd_write", "iiii", fdWrite},
	{"path_create_directory", "iii", pathOne},
	{"path_filestat_get", "iiiii", pathFilestatGet},
	{"path_filestat_set_times", "iiiiIIi", pathAfterFlags},
	{"path_link", "iiiiiii", pathLink},
	{"path_open", "iiiiiIIii", pathOpen},
	{"path_readlink", "iiiiii", pathReadlink},
	{"path_remove_directory", "iii", pathOne},
	{"path_rename", "iiiiii", pathRename},
	{"path_symlink", "iiiii", pathSymlink},
	{"path_unlink_file", "iii", pathOne},
	{"poll_oneoff", "iiii", pollOneoff},
	{"proc_exit", "i", nil},
	{"proc_raise", "i", procRaise},
	{"random_get", "ii", randomGet},
	{"sched_yield", "", schedYield},
	{"sock_accept", "iii", sockAccept},
	{"sock_recv", "iiiiii", sockRecv},
	{"sock_send", "iiiii", sockSend},
	{"sock_shutdown", "ii", sockShutdown},
}

// Functions is all of preview 1 over s.
func (s *System) Functions() []Function {
	fns := make([]Function, 0, len(imports))
	for _, im := range imports {
		f := Function{Name: im.name, Params: Signature(im.params), Results: Signature("i")}
		if call := im.call; call != nil {
			f.Call = func(_ context.Context, mod api.Module, stack []uint64) {
				stack[0] = uint64(call(s, Memory{mod.Memory()}, stack))
			}
		} else {
			f.Results, f.Call = nil, procExit
		}
		fns = append(fns, f)
	}
	return fns
}

// Signature turns letters into value types: i is i32, I is i64.
func Signature(letters string) []api.ValueType {
	types := make([]api.ValueType, len(letters))
	for i, l := range letters {
		types[i] = api.ValueTypeI32
		if l == 'I' {
			types[i] = api.ValueTypeI64
		}
	}
	return types
}

// procExit ends the guest: the panic unwinds its stack and comes out of the call that started it as this very error.
func procExit(_ context.Context, _ api.Module, stack []uint64) {
	panic(sys.NewExitError(u32(stack[0])))
}

// u32 is an i32 parameter: its upper half is garbage.
func u32(p uint64) uint32 { return api.DecodeU32(p) }

// u16 and u8 are an i32 parameter that stands for a smaller number. What is too large becomes the largest, which no flag
// word or enumeration of preview 1 knows: EINVAL.
func u16(p uint64) uint16 { return uint16(min(u32(p), 1<<16-1)) }
func u8(p uint64) uint8   { return uint8(min(u32(p), 1<<8-1)) }
