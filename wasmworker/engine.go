package wasmworker

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// memoryPages is how large a guest's memory may grow: 4 GiB less a page. With all of 4 GiB, whose size does not fit 32 bits,
// this release of wazero takes memory for empty, and its own bounds check for host calls lets a slice end at 0.
const memoryPages = 1<<16 - 1

// engine is wazero as we use it. The compiler is asked for by name: plain NewRuntimeConfig would silently become the
// interpreter where memory cannot be made executable. No close-on-context checks are compiled into guest code, which
// makes a tight loop 27 times slower: a guest is stopped by ending its process. Tail calls, threads, extended constants
// and exceptions stay off: the last corrupt locals in this release of wazero (#2504).
//
// close gives back what the engine holds; code compiled by it must not run any more.
func engine(ctx context.Context, cacheDir string, debug bool) (rt wazero.Runtime, close func(), err error) {
	config := wazero.NewRuntimeConfigCompiler().
		WithCoreFeatures(api.CoreFeaturesV2).
		WithMemoryLimitPages(memoryPages).
		// Function names come from the name section either way. DWARF adds file and line, and makes the cache entry of a
		// 26 MB module load in 1.2 s instead of 0.15.
		WithDebugInfoEnabled(debug)
	var cache wazero.CompilationCache
	if cacheDir != "" {
		if _, err := os.Stat(cacheDir); err != nil {
			return nil, nil, fmt.Errorf("open compile cache: %w", err)
		}
		if cache, err = wazero.NewCompilationCacheWithDir(cacheDir); err != nil {
			return nil, nil, fmt.Errorf("open compile cache: %w", err)
		}
		config = config.WithCompilationCache(cache)
	}
	rt = wazero.NewRuntimeWithConfig(ctx, config)
	return rt, func() {
		_ = rt.Close(ctx) // its memory is gone either way
		if cache != nil {
			_ = cache.Close(ctx)
		}
	}, nil
}

// compile turns module into native code, or finds it in the cache. A defect of the compiler is an error as any other.
// wazero makes room for a list before it reads it, so that fifteen bytes can ask for a terabyte, and no recover would
// help: lists that cannot be as long as they say do not reach it.
func compile(ctx context.Context, rt wazero.Runtime, module []byte) (code wazero.CompiledModule, err error) {
	if _, why := classify(module); why != "" {
		return nil, errors.New(why)
	}
	if _, err := sections(module); errors.Is(err, errCutOff) || errors.Is(err, errTooLong) {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the compiler failed: %v", r)
		}
	}()
	return rt.CompileModule(ctx, module)
}

// withMemory makes guest memories that grow in place, up to limit.
func withMemory(ctx context.Context, size *uint64, limit *memoryLimit) context.Context {
	return experimental.WithMemoryAllocator(ctx, experimental.MemoryAllocatorFunc(
		func(_, maximum uint64) experimental.LinearMemory { return reserve(maximum, size, limit) }))
}
