package main

import (
	"context"
	"flag"
	"maps"
	"slices"
	"strings"
	"time"

	"coditect.ai/platform/app/contract"
	"coditect.ai/platform/app/internal/backup"
	"coditect.ai/platform/app/internal/config"
	"coditect.ai/platform/app/internal/store"
)

func checkCommand(ctx context.Context, c console, args []string) int {
	flags := flag.NewFlagSet(contract.CheckCommand, flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "print JSON")
	repair := flags.Bool("repair", false, "tell how each fault can be mended")
	apply := flags.Bool("apply", false, "with --repair: mend what can be mended safely")
	against := flags.String("against", "", "`directory` of a manifest whose inventory the store must have; where that was not exact, no kind may have shrunk to less than half")
	if !parse(c, flags, args, 0) {
		return exitUsage
	}
	var counted contract.Manifest
	if *against != "" {
		var err error
		if counted, err = backup.ReadManifest(*against); err != nil {
			return c.fail(exitFault, "%v", err)
		}
	}
	if *apply && !*repair {
		return c.fail(exitUsage, "--apply belongs to --repair, which tells what would be done")
	}
	cfg, _, faults := config.Load(c.environ)
	if faults != nil {
		return c.badSettings(faults)
	}
	ctx, cancel := c.untilSignal(ctx)
	defer cancel()
	var repairs []contract.Repair
	var report store.Report
	err := withAdmitted(ctx, cfg, func(st *store.Store) (err error) {
		if *repair {
			if repairs, err = repairStore(ctx, st, *apply); err != nil {
				return err
			}
		}
		report, err = st.Check(ctx)
		return err
	})
	if err != nil {
		return c.fail(exitFault, "check the store: %v", err)
	}
	result := checked(report)
	result.Repairs = repairs
	if *asJSON {
		if code := printJSON(c, result); code != exitOK {
			return code
		}
	} else {
		c.printChecked(result, *apply)
	}
	if *against != "" && report.OK() {
		return c.compared(counted, result.Inventory)
	}
	switch {
	case report.OK():
		return exitOK
	case *repair && *apply:
		return c.fail(exitFault, "the store has %d faults left; the repairs above say why each is", report.Disagree)
	case *repair:
		return c.fail(exitFault, "the store has %d faults; check --repair --apply mends what can be mended, after a backup", report.Disagree)
	default:
		return c.fail(exitFault, "the store has %d faults, such as:\n  - %s\ncheck --repair tells how each can be mended", report.Disagree, strings.Join(report.Problems, "\n  - "))
	}
}

// compared holds what was found against what a manifest counted.
func (c console) compared(counted contract.Manifest, found contract.Inventory) int {
	differs := counted.Inventory.Shrunk
	if counted.Inventory.Exact {
		differs = counted.Inventory.Difference
	}
	if text := differs(found); text != "" {
		return c.fail(exitFault, "the store is not what was counted at %s: %s", counted.InventoryAt.Format(time.RFC3339), text)
	}
	return exitOK
}

// repairStore returns what was done, or would be, and what was left.
func repairStore(ctx context.Context, st *store.Store, apply bool) ([]contract.Repair, error) {
	done, left, err := st.Repair(ctx, apply)
	var repairs []contract.Repair
	for _, m := range slices.Concat(done, left) {
		repairs = append(repairs, contract.Repair(m))
	}
	return repairs, err
}

func (c console) printChecked(result contract.Checked, applied bool) {
	for _, kind := range slices.Sorted(maps.Keys(result.Keys)) {
		c.print(c.out, "%-20s %d\n", kind, result.Keys[kind])
	}
	c.print(c.out, "%-20s %d\n", "schema version", result.SchemaVersion)
	c.print(c.out, "%-20s %s\n", "fingerprint", result.Fingerprint)
	for _, r := range result.Repairs {
		switch {
		case r.Action == "":
			c.print(c.out, "left:   %s\n        %s\n", r.Fault, r.Why)
		case applied:
			c.print(c.out, "mended: %s\n        %s\n", r.Fault, r.Action)
		default:
			c.print(c.out, "would mend: %s\n        %s\n", r.Fault, r.Action)
		}
	}
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
