package telemetry

import (
	"io"
	"log/slog"
)

// NewLogger returns a logger that writes one JSON object a line with the
// members severity, time and message. A slot is added to each line if there is one.
func NewLogger(w io.Writer, level slog.Leveler, slot string) *slog.Logger {
	log := slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: cloudNames}))
	if slot != "" {
		log = log.With(slog.String("slot", slot))
	}
	return log
}

// cloudNames renames slog's own members to those of Cloud Logging.
func cloudNames(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.MessageKey:
		a.Key = "message"
	case slog.LevelKey:
		level, ok := a.Value.Any().(slog.Level)
		if !ok {
			return a
		}
		return slog.String("severity", severity(level))
	}
	return a
}

func severity(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "ERROR"
	case l >= slog.LevelWarn:
		return "WARNING"
	case l >= slog.LevelInfo:
		return "INFO"
	default:
		return "DEBUG"
	}
}

// Trace returns the attributes that tie a log line to the trace named by a
// W3C traceparent header, and none where the header is absent or malformed.
func Trace(traceparent string) []slog.Attr {
	// version "-" 32 hex digits of trace "-" 16 of span "-" 2 of flags; a later version may append more.
	const trace, span, end = 3, 36, 52
	if len(traceparent) < 55 || traceparent[2] != '-' || traceparent[span-1] != '-' || traceparent[end] != '-' ||
		!hex(traceparent[:2]) || !hex(traceparent[trace:span-1]) || !hex(traceparent[span:end]) {
		return nil
	}
	return []slog.Attr{
		slog.String("logging.googleapis.com/trace", traceparent[trace:span-1]),
		slog.String("logging.googleapis.com/spanId", traceparent[span:end]),
	}
}

func hex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
