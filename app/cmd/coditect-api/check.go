package main

import (
	"context"
	"errors"
	"flag"
	"maps"
	"slices"
	"strings"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/config"
	"coditect.ai/platform/app/internal/store"
)

func checkCommand(ctx context.Context, c console, args []string) int {
	flags := flag.NewFlagSet(contract.CheckCommand, flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "print JSON")
	if !parse(c, flags, args, 0) {
		return exitUsage
	}
	cfg, _, faults := config.Load(c.environ)
	if faults != nil {
		return c.badSettings(faults)
	}
	db, st, err := openStore(ctx, cfg, time.Now)
	if err != nil {
		return c.fail(exitFault, "%v", err)
	}
	report, err := st.Check(ctx)
	if err = errors.Join(err, db.Close()); err != nil {
		return c.fail(exitFault, "check the store: %v", err)
	}
	if *asJSON {
		if code := printJSON(c, checked(report)); code != exitOK {
			return code
		}
	} else {
		for _, kind := range slices.Sorted(maps.Keys(report.Counts)) {
			c.print(c.out, "%-20s %d\n", kind, report.Counts[kind])
		}
		c.print(c.out, "%-20s %d\n", "schema version", report.Inventory.SchemaVersion)
		c.print(c.out, "%-20s %s\n", "fingerprint", report.Inventory.Fingerprint)
	}
	if !report.OK() {
		return c.fail(exitFault, "the store has %d faults, such as:\n  - %s", report.Disagree, strings.Join(report.Problems, "\n  - "))
	}
	return exitOK
}

// checked is a report as the contract has it.
func checked(report store.Report) contract.Checked {
	keys := make(map[string]int64, len(report.Counts))
	for kind, n := range report.Counts {
		keys[kind] = int64(n)
	}
	return contract.Checked{
		Inventory: report.Inventory, OK: report.OK(), Keys: keys,
		FaultCount: int64(report.Disagree), Faults: append([]string{}, report.Problems...), // [] where there are none
	}
}
