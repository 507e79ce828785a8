// Command compose-check loads Compose files with the library of `docker compose`. It reports faults that the library does
// not check, or for which it only prints a warning.
//
//	go run . [-memory BYTES] FILE [OVERRIDE…]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
)

func main() {
	memory := flag.Int64("memory", 6<<30, "largest sum of all memory limits, in bytes")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: compose-check [-memory BYTES] FILE [OVERRIDE…]")
		os.Exit(2)
	}
	project, faults := load(context.Background(), flag.Args())
	if project != nil {
		faults = append(faults, check(project, *memory)...)
	}
	for _, fault := range faults {
		fmt.Fprintln(os.Stderr, "compose-check:", fault)
	}
	if len(faults) > 0 {
		os.Exit(1)
	}
	fmt.Printf("compose-check: %d services, no fault: %v\n", len(project.Services), flag.Args())
}
