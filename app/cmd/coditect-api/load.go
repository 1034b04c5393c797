package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"coditect.ai/platform/app/internal/load"
)

// exitInterrupted is the shell's code for a program that Ctrl-C ended.
const exitInterrupted = 130

func loadCommand(ctx context.Context, c console, args []string) int {
	cfg := load.Config{Users: []int{10, 100}}
	var limits load.Thresholds
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.Func("users", "concurrent users of each stage (default 10,100)", func(text string) error { return parseCounts(text, &cfg.Users) })
	flags.DurationVar(&cfg.Duration, "duration", 30*time.Second, "length of each stage")
	flags.Float64Var(&cfg.Rate, "rate", 0, "open loop: lives that begin each second, whatever the service does (default: a closed loop)")
	flags.IntVar(&cfg.Sessions, "sessions", 3, "IDE sessions of each life")
	flags.DurationVar(&cfg.Timeout, "timeout", 10*time.Second, "longest time of one request")
	flags.Func("max-error-rate", "threshold: the most failed requests, as a share of 1, such as 0.01", func(text string) error {
		share, err := strconv.ParseFloat(text, 64)
		if err != nil || share < 0 || share > 1 {
			return errors.New("must be from 0 to 1")
		}
		limits.ErrorRate = &share
		return nil
	})
	flags.Func("max-p99", "threshold: `operation=duration`, such as login=500ms or all=1s; may be repeated", limits.ParseP99)
	asJSON := flags.Bool("json", false, "print JSON instead of tables")
	html := flags.String("html", "", "write a report with plots to this `file`")
	if !parse(c, flags, args, 1) {
		return exitUsage
	}
	cfg.URL = flags.Arg(0)
	if err := cfg.Validate(); err != nil {
		return c.fail(exitUsage, "load:\n  - %s", strings.ReplaceAll(err.Error(), "\n", "\n  - "))
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the command
		select {
		case <-c.signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	report, err := load.Run(ctx, cfg, c.progress())
	if err != nil {
		return c.fail(exitFault, "%v", err)
	}
	limits.Judge(report)
	if *html != "" {
		if err := writeReport(*html, report); err != nil {
			return c.fail(exitFault, "%v", err)
		}
	}
	if *asJSON {
		if code := printJSON(c, report); code != exitOK {
			return code
		}
	} else if err := report.WriteText(c.out); err != nil {
		return c.fail(exitFault, "%v", err)
	}
	switch {
	case len(report.Broken) > 0:
		return c.fail(exitFault, "%d thresholds were broken", len(report.Broken))
	case report.Interrupted:
		return exitInterrupted
	default:
		return exitOK
	}
}

// parseCounts reads whole numbers between commas.
func parseCounts(text string, into *[]int) error {
	var counts []int
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			return errors.New("must be whole numbers with commas between, such as 10,100")
		}
		counts = append(counts, n)
	}
	*into = counts
	return nil
}

// progress returns a printer for people who wait: one line that is renewed on a
// terminal, and one every five seconds elsewhere.
func (c console) progress() func(load.Progress) {
	terminal := false
	if file, ok := c.err.(*os.File); ok {
		info, err := file.Stat()
		terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return func(p load.Progress) {
		last := p.Elapsed >= p.Of
		if !terminal && !last && int(p.Elapsed.Seconds())%5 != 0 {
			return
		}
		line := fmt.Sprintf("stage %d of %d, %d users: %v of %v, %d lives, %d requests (%.0f/s), %d failed, p50 %.1f ms, p99 %.1f ms",
			p.Stage, p.Stages, p.Users, p.Elapsed, p.Of, p.Lives, p.Requests, p.PerSecond, p.Failures, p.P50, p.P99)
		if !terminal {
			c.print(c.err, "%s\n", line)
			return
		}
		end := ""
		if last {
			end = "\n"
		}
		c.print(c.err, "\r\033[K%s%s", line, end)
	}
}

func writeReport(name string, report *load.Report) (err error) {
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return report.WriteHTML(file)
}
