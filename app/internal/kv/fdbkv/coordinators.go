//go:build fdb

package fdbkv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"time"

	"coditect.ai/platform/app/internal/kv"
)

// connection is the form of a cluster file's one line: description:ID@coordinators.
var connection = regexp.MustCompile(`^[A-Za-z0-9_]+:[A-Za-z0-9]+@([^@\s]+)$`)

// coordinators returns the hosts that a cluster file names.
func coordinators(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the cluster file: %w", err)
	}
	var line strings.Builder
	for l := range strings.Lines(string(text)) {
		if l = strings.TrimSpace(l); !strings.HasPrefix(l, "#") {
			line.WriteString(l)
		}
	}
	match := connection.FindStringSubmatch(line.String())
	if match == nil {
		return nil, fmt.Errorf("the cluster file %s is not of the form description:ID@host:port,…", file)
	}
	var hosts []string
	for address := range strings.SplitSeq(match[1], ",") {
		host, _, err := net.SplitHostPort(strings.TrimSuffix(address, ":tls"))
		if err != nil {
			return nil, fmt.Errorf("the cluster file %s: coordinator %q: %w", file, address, err)
		}
		hosts = append(hosts, host)
	}
	return hosts, nil
}

// resolveWithin bounds the look-ups of a cluster's coordinators.
const resolveWithin = 2 * time.Second

var errNoAddress = errors.New("no coordinator's name has an address")

// resolvable returns nil as soon as one of the hosts is, or has, an address. A
// client that is opened while none has may take its network thread, and so the
// process, down with it.
func resolvable(ctx context.Context, hosts []string) error {
	ctx, cancel := context.WithTimeout(ctx, resolveWithin)
	defer cancel()
	answers := make(chan error, len(hosts))
	for _, host := range hosts {
		if _, err := netip.ParseAddr(host); err == nil {
			return nil
		}
		go func() { // ends with ctx
			_, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
			answers <- err
		}()
	}
	var causes error
	for range hosts {
		err := <-answers
		if err == nil {
			return nil
		}
		causes = errors.Join(causes, err)
	}
	return fmt.Errorf("%w: %w: %w", kv.ErrUnavailable, errNoAddress, causes)
}
