package wasmworker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/wasmworker/wasip1"
)

// reactorExports are what a reactor may offer for the host's loop to call.
var reactorExports = []string{"on_connection", "on_data", "on_message", "on_event", "on_drain"}

// Inspect compiles module into cacheDir, or for the report alone where that is empty, and says what the module is. What
// is wrong with the module stands in the report; an error is about the cache.
func Inspect(ctx context.Context, module []byte, cacheDir string, debug bool) (abi.Report, error) {
	report, err := examine(ctx, module, cacheDir, debug)
	report.Error = plain(report.Error) // the names in a module are its maker's to choose
	return report, err
}

func examine(ctx context.Context, module []byte, cacheDir string, debug bool) (abi.Report, error) {
	report := abi.Report{Bytes: int64(len(module)), Imports: []abi.Import{}, Exports: []abi.Export{}, Missing: []string{}}
	if reason, why := classify(module); reason != "" {
		report.Reason, report.Error = reason, why
		return report, nil
	}
	lines, outlineErr := sections(module)
	rt, close, err := engine(ctx, cacheDir, debug)
	if err != nil {
		return report, err
	}
	defer close()
	code, err := compile(ctx, rt, module)
	if err != nil {
		report.Reason, report.Error = explain(err, lines, outlineErr)
		return report, nil
	}
	describe(&report, lines, code)
	judge(&report, code)
	return report, nil
}

// explain turns a compiler's error into a reason and a line that says what to do.
func explain(err error, lines outline, outlineErr error) (abi.Reason, string) {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	switch {
	case errors.Is(outlineErr, errCutOff), errors.Is(outlineErr, errTooLong):
		return abi.ReasonInvalid, text + "; build or copy it again"
	case lines.tags, strings.Contains(text, "exception"), strings.Contains(text, "section ID 13"):
		return abi.ReasonFeature, "the module uses Wasm exceptions, which are not supported; build it without (-fno-exceptions, or -fno-wasm-exceptions)"
	case strings.Contains(text, "disabled"), strings.Contains(text, "invalid instruction"), strings.Contains(text, "not supported"):
		return abi.ReasonFeature, "the module uses a Wasm feature that is not supported (" + text + "); build it for the generic CPU of wasip1"
	case strings.Contains(text, "over limit"):
		return abi.ReasonFeature, "the module wants more memory than a guest can have (" + text + "); build it with less"
	case strings.Contains(text, "the compiler failed"):
		return abi.ReasonInternal, "the module could not be compiled: " + text
	default:
		return abi.ReasonInvalid, "the module is not valid Wasm (" + text + "); build or copy it again"
	}
}

// describe fills in what the module is.
func describe(report *abi.Report, lines outline, code wazero.CompiledModule) {
	provided := Provided()
	functions := code.ImportedFunctions()
	for _, e := range lines.imports {
		im := abi.Import{Module: e.module, Name: e.name, Signature: kindName(e.kind)}
		if e.kind == externalFunc && len(functions) > 0 {
			im.Signature = signature(functions[0])
			im.Provided = provided[e.module+"."+e.name] == im.Signature
			functions = functions[1:]
		}
		report.Imports = append(report.Imports, im)
		report.Aware = report.Aware || e.module == abi.ImportModule
		if !im.Provided {
			report.Missing = append(report.Missing, e.module+"."+e.name)
		}
	}
	exported := code.ExportedFunctions()
	for _, e := range lines.exports {
		ex := abi.Export{Name: e.name, Signature: kindName(e.kind)}
		if f := exported[e.name]; f != nil && e.kind == externalFunc {
			ex.Signature = signature(f)
		}
		report.Exports = append(report.Exports, ex)
	}
	report.Kind = kindOf(exported)
	report.Memory = memoryOf(code)
}

func kindOf(exported map[string]api.FunctionDefinition) abi.ModuleKind {
	if _, ok := exported["_start"]; ok {
		return abi.KindCommand
	}
	if slices.ContainsFunc(reactorExports, func(name string) bool { _, ok := exported[name]; return ok }) {
		return abi.KindReactor
	}
	return abi.KindLibrary
}

func memoryOf(code wazero.CompiledModule) *abi.Memory {
	for _, m := range code.ExportedMemories() {
		memory := &abi.Memory{MinPages: m.Min()}
		if most, ok := m.Max(); ok {
			memory.MaxPages = &most
		}
		return memory
	}
	return nil
}

// judge says whether the module can run here.
func judge(report *abi.Report, code wazero.CompiledModule) {
	switch {
	case len(report.Missing) > 0:
		report.Reason, report.Error = abi.ReasonImport, missing(report, Provided())
	case report.Kind != abi.KindCommand:
		report.Reason, report.Error = abi.ReasonNoEntry, "the module has no _start function, so there is nothing to run; build a program (a command), not a library"
	default:
		if why := cannotRun(code); why != "" {
			report.Reason, report.Error = abi.ReasonNoEntry, why
		}
	}
}

// cannotRun says why a module cannot be run although it is valid and finds its imports, or "". Host calls rely on it:
// without a memory, wazero gives them one that panics.
func cannotRun(code wazero.CompiledModule) string {
	if len(code.ImportedFunctions()) > 0 && len(code.ExportedMemories()) == 0 {
		return "the module does not export its memory, which host calls need; export it as \"memory\""
	}
	for _, name := range entries {
		if f, ok := code.ExportedFunctions()[name]; ok && len(f.ParamTypes())+len(f.ResultTypes()) > 0 {
			return fmt.Sprintf("the module's %s is a %s, and it must be a func(); build a program for wasip1", name, signature(f))
		}
	}
	return ""
}

// missing is the line about imports that are not provided.
func missing(report *abi.Report, provided map[string]string) string {
	for _, im := range report.Imports {
		have, known := provided[im.Module+"."+im.Name]
		if known && !im.Provided {
			return fmt.Sprintf("the module imports %s.%s as %s, and here it is %s; build it against the right headers", im.Module, im.Name, im.Signature, have)
		}
	}
	const most = 5
	names := report.Missing
	more := ""
	if len(names) > most {
		names, more = names[:most], fmt.Sprintf(" and %d more", len(names)-most)
	}
	return "the module imports what is not provided here: " + strings.Join(names, ", ") + more + "; build it for wasip1"
}

// Provided is every function that a guest can import, as "module.name", with its signature.
func Provided() map[string]string {
	all := map[string]string{}
	m := &Machine{sys: &wasip1.System{}}
	for _, host := range m.hostModules() {
		for _, f := range host.functions {
			all[host.name+"."+f.Name] = signatureOf(f.Params, f.Results)
		}
	}
	return all
}

func signature(f api.FunctionDefinition) string {
	return signatureOf(f.ParamTypes(), f.ResultTypes())
}

// signatureOf writes a function's type: "func(i32, i64) i32".
func signatureOf(params, results []api.ValueType) string {
	s := "func(" + typeNames(params) + ")"
	if len(results) > 0 {
		s += " " + typeNames(results)
	}
	return s
}

func typeNames(types []api.ValueType) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = api.ValueTypeName(t)
	}
	return strings.Join(names, ", ")
}

func kindName(kind byte) string {
	if int(kind) < len(externalKinds) {
		return externalKinds[kind]
	}
	return "unknown"
}
