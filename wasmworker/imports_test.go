package wasmworker

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"unsafe"

	"github.com/wcluster/wcluster/abi"
)

// prototype is a function that the C header imports.
var prototype = regexp.MustCompile(`WCLUSTER_IMPORT\("(\w+)"\)\s+(\w+) wcluster_(\w+)\(([^)]*)\);`)

// lowered is how C types of the header become core Wasm types; pointers are i32.
var lowered = map[string]string{
	"uint32_t": "i32", "int32_t": "i32", "wcluster_errno": "i32", "uint64_t": "i64", "int64_t": "i64",
	"wcluster_callback": "i32", "wcluster_event_callback": "i32",
}

// The C header and the import table are two statements of one treaty.
func TestImportsAreThoseOfTheHeader(t *testing.T) {
	header, err := os.ReadFile("../guests/sdk/c/wcluster.h")
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]string{}
	for _, m := range prototype.FindAllStringSubmatch(string(header), -1) {
		if m[1] != m[3] {
			t.Errorf("wcluster_%s imports %q", m[3], m[1])
		}
		var params []string
		for param := range strings.SplitSeq(m[4], ",") {
			param = strings.TrimPrefix(strings.TrimSpace(param), "const ")
			kind, _, _ := strings.Cut(param, " ")
			switch {
			case param == "void":
			case strings.Contains(param, "*"):
				params = append(params, "i32")
			case lowered[kind] != "":
				params = append(params, lowered[kind])
			default:
				t.Errorf("%s: parameter %q", m[1], param)
			}
		}
		declared[m[1]] = "func(" + strings.Join(params, ", ") + ") " + lowered[m[2]]
	}
	if len(declared) != strings.Count(string(header), `WCLUSTER_IMPORT("`) {
		t.Errorf("%d prototypes found in the header", len(declared))
	}
	for _, f := range (&Machine{}).functions() {
		have := signatureOf(f.Params, f.Results)
		if want := declared[f.Name]; want != have {
			t.Errorf("%s is %s, and in the header %q", f.Name, have, want)
		}
		delete(declared, f.Name)
	}
	for name := range declared {
		t.Errorf("%s is declared and not provided", name)
	}
}

func TestBoardLiesAsPackageABIDrawsIt(t *testing.T) {
	var b Board
	for _, tt := range []struct {
		field  string
		offset uintptr
		want   uintptr
	}{
		{"Calls", unsafe.Offsetof(b.Calls), abi.BoardCalls},
		{"State", unsafe.Offsetof(b.State), abi.BoardState},
		{"Connections", unsafe.Offsetof(b.Figures) + unsafe.Offsetof(b.Figures.Connections), abi.BoardConnections},
		{"Accepted", unsafe.Offsetof(b.Figures) + unsafe.Offsetof(b.Figures.Accepted), abi.BoardAccepted},
		{"BytesIn", unsafe.Offsetof(b.Figures) + unsafe.Offsetof(b.Figures.BytesIn), abi.BoardBytesIn},
		{"BytesOut", unsafe.Offsetof(b.Figures) + unsafe.Offsetof(b.Figures.BytesOut), abi.BoardBytesOut},
		{"MessagesIn", unsafe.Offsetof(b.MessagesIn), abi.BoardMessagesIn},
		{"MessagesOut", unsafe.Offsetof(b.MessagesOut), abi.BoardMessagesOut},
		{"Memory", unsafe.Offsetof(b.Memory), abi.BoardMemory},
		{"Consumed", unsafe.Offsetof(b.Consumed), abi.BoardConsumed},
	} {
		if tt.offset != tt.want {
			t.Errorf("%s is at %d, want %d", tt.field, tt.offset, tt.want)
		}
	}
	if size := unsafe.Sizeof(b); size > abi.ScoreboardSize {
		t.Errorf("the board is %d bytes", size)
	}
}

// The engine's name is part of the key of compiled code: it must be that of the engine that is linked.
func TestEngineIsTheOneInGoMod(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) >= 2 && fields[0] == "github.com/tetratelabs/wazero" {
			if want := "wazero-" + fields[1]; abi.Engine != want {
				t.Errorf("abi.Engine is %q, and %q is linked", abi.Engine, want)
			}
			return
		}
	}
	t.Error("go.mod does not name wazero")
}
