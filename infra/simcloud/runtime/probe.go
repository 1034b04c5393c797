package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// eager is how often a probe is tried until it succeeds for the first time. It
// makes starting quick; failures are still counted once a period.
const eager = 100 * time.Millisecond

// prober asks one thing of a container again and again.
type prober struct {
	probe *corev1.Probe
	check func(context.Context) error
	// healthy is told every verdict; err says why it is unhealthy.
	verdict func(healthy bool, err error)
}

// run probes until the context ends or, if once, until the first success or final failure.
func (p prober) run(ctx context.Context, once bool) (succeeded bool) {
	period := atLeastOne(p.probe.PeriodSeconds, 10)
	failuresWanted, successesWanted := orDefault(p.probe.FailureThreshold, 3), orDefault(p.probe.SuccessThreshold, 1)
	if !sleep(ctx, time.Duration(p.probe.InitialDelaySeconds)*time.Second) {
		return false
	}
	var failures, successes int32
	healthy, ever := false, false
	counted := time.Now()
	for {
		attempt, cancel := context.WithTimeout(ctx, atLeastOne(p.probe.TimeoutSeconds, 1))
		err := p.check(attempt)
		cancel()
		if ctx.Err() != nil {
			return false
		}
		switch due := time.Since(counted) >= period; {
		case err == nil:
			failures, successes = 0, successes+1
			if successes >= successesWanted {
				healthy, ever = true, true
				p.verdict(true, nil)
			}
		case ever || due:
			successes, failures, counted = 0, failures+1, time.Now()
			if failures >= failuresWanted {
				healthy = false
				p.verdict(false, fmt.Errorf("%d times: %w", failures, err))
			}
		}
		if once && (healthy || failures >= failuresWanted) {
			return healthy
		}
		wait := period
		if !ever {
			wait = min(eager, period)
		}
		if !sleep(ctx, wait) {
			return false
		}
	}
}

func atLeastOne(seconds, otherwise int32) time.Duration {
	return time.Duration(orDefault(seconds, otherwise)) * time.Second
}

func orDefault(value, otherwise int32) int32 {
	if value <= 0 {
		return otherwise
	}
	return value
}

// sleep tells whether it slept to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

var probeClient = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true, Proxy: nil},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// checkOf returns what a probe asks.
func (c *container) checkOf(probe *corev1.Probe) func(context.Context) error {
	switch handler := probe.ProbeHandler; {
	case handler.HTTPGet != nil:
		return func(ctx context.Context) error { return c.httpGet(ctx, handler.HTTPGet) }
	case handler.TCPSocket != nil:
		return func(ctx context.Context) error {
			port, err := c.port(handler.TCPSocket.Port)
			if err != nil {
				return err
			}
			connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(c.pod.address, port))
			if err != nil {
				return err
			}
			return connection.Close()
		}
	case handler.Exec != nil:
		return func(ctx context.Context) error { return c.exec(ctx, handler.Exec.Command) }
	default:
		return func(context.Context) error { return errors.New("this kind of probe is not simulated") }
	}
}

func (c *container) httpGet(ctx context.Context, get *corev1.HTTPGetAction) error {
	port, err := c.port(get.Port)
	if err != nil {
		return err
	}
	host := get.Host
	if host == "" {
		host = c.pod.address
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+get.Path, nil)
	if err != nil {
		return err
	}
	for _, header := range get.HTTPHeaders {
		request.Header.Add(header.Name, header.Value)
	}
	response, err := probeClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // only read
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 200)) // it only adds to the message
		return fmt.Errorf("GET %s answered %d: %s", get.Path, response.StatusCode, said)
	}
	return nil
}

// port resolves a number or the name of one of the container's ports.
func (c *container) port(port intstr.IntOrString) (string, error) {
	if port.Type == intstr.Int {
		return strconv.Itoa(port.IntValue()), nil
	}
	for _, known := range c.spec.Ports {
		if known.Name == port.StrVal {
			return strconv.Itoa(int(known.ContainerPort)), nil
		}
	}
	return "", fmt.Errorf("the container has no port named %q", port.StrVal)
}
