package main

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// machines are the ELF names of the processors that Go names.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// checkLibraries reads the binary's head and has its own loader find every
// library that it needs, without running it.
func checkLibraries(ctx context.Context, path string) (found string, err error) {
	file, err := elf.Open(path)
	if err != nil {
		return "", fmt.Errorf("it is no program for Linux (ELF): %w", err)
	}
	defer file.Close() //nolint:errcheck // only read
	if want := machines[runtime.GOARCH]; file.Machine != want {
		return "", fmt.Errorf("it is a program for %v, and this is %v", file.Machine, want)
	}
	if file.Type != elf.ET_EXEC && file.Type != elf.ET_DYN {
		return "", fmt.Errorf("it is no program but of the type %v: the linker has not finished it", file.Type)
	}
	needed, err := file.ImportedLibraries()
	if err != nil {
		return "", fmt.Errorf("its list of libraries cannot be read: %w", err)
	}
	loader, err := loaderOf(file)
	if err != nil {
		return "", err
	}
	if loader == "" {
		if len(needed) > 0 {
			return "", fmt.Errorf("it needs the libraries %q and names no loader for them", needed)
		}
		return "none needed", nil
	}
	if _, err := os.Stat(loader); err != nil {
		return "", fmt.Errorf("its loader %s is not there: %w", loader, err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, loader, "--list", path)
	cmd.Env, cmd.WaitDelay = []string{}, time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("it lacks a library, or one does not fit: its loader ends with %w%s", reason(ctx.Err(), err), lastWords(out))
	}
	return strings.Join(needed, ", "), nil
}

// loaderOf is the path of the dynamic loader that the program asks for, "" for a static one.
func loaderOf(file *elf.File) (string, error) {
	for _, part := range file.Progs {
		if part.Type == elf.PT_INTERP {
			const longest = 4096 // a path's
			name, err := io.ReadAll(io.LimitReader(part.Open(), longest))
			if err != nil {
				return "", fmt.Errorf("its loader's name cannot be read: %w", err)
			}
			return string(bytes.TrimRight(name, "\x00")), nil
		}
	}
	return "", nil
}
