package main

import (
	"bufio"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"strings"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

const unauthorized = `{"error":"authentication failed: missing or improperly formatted Authorization header: ` +
	`expected 'Authorization: Bearer secret_token' or 'Authorization: ApiKey base64(API key ID:API key)'"}`

func (d *decoder) routes(token string) http.Handler {
	mux := http.NewServeMux()
	guarded := func(path string, handle http.HandlerFunc) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if token != "" && r.Header.Get("Authorization") != "Bearer "+token {
				w.Header().Set("Connection", "close")
				w.WriteHeader(http.StatusUnauthorized)
				io.WriteString(w, unauthorized)
				return
			}
			handle(w, r)
		})
	}
	guarded("/intake/v2/events", d.handleIntake)
	guarded("/v1/traces", handleOTLP(func(ctx context.Context, data []byte) error {
		req := ptraceotlp.NewExportRequest()
		if err := req.UnmarshalProto(data); err != nil {
			return badRequest{err}
		}
		_, err := d.otlp.ConsumeTracesWithResult(ctx, req.Traces())
		return err
	}))
	guarded("/v1/metrics", handleOTLP(func(ctx context.Context, data []byte) error {
		req := pmetricotlp.NewExportRequest()
		if err := req.UnmarshalProto(data); err != nil {
			return badRequest{err}
		}
		_, err := d.otlp.ConsumeMetricsWithResult(ctx, req.Metrics())
		return err
	}))
	guarded("/v1/logs", handleOTLP(func(ctx context.Context, data []byte) error {
		req := plogotlp.NewExportRequest()
		if err := req.UnmarshalProto(data); err != nil {
			return badRequest{err}
		}
		_, err := d.otlp.ConsumeLogsWithResult(ctx, req.Logs())
		return err
	}))
	guarded("/config/v1/agents", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Etag", `"-"`)
		w.Header().Set("Cache-Control", "max-age=30, must-revalidate")
		io.WriteString(w, "{}")
	})
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"build_date":"2026-08-20T00:00:00Z","publish_ready":true,"version":"9.5.0"}`)
	})
	return mux
}

func (d *decoder) handleIntake(w http.ResponseWriter, r *http.Request) {
	v := verdict{status: http.StatusBadRequest}
	contentType := r.Header.Get("Content-Type")
	if r.Method != http.MethodPost {
		v.Errors = []refusal{{Message: "only POST requests are supported"}}
	} else if contentType != "" && !strings.Contains(contentType, "application/x-ndjson") {
		v.Errors = []refusal{{Message: "invalid content type: '" + contentType + "'"}}
	} else if body, err := decompressed(r); err != nil {
		v.Errors = []refusal{{Message: err.Error()}}
	} else {
		v = d.decode(r.Context(), body)
	}
	if len(v.Errors) > 0 {
		log.Printf("refused: %+v", v.Errors)
		w.Header().Set("Connection", "close")
	}
	w.WriteHeader(v.status)
	if _, verbose := r.URL.Query()["verbose"]; verbose || len(v.Errors) > 0 {
		json.NewEncoder(w).Encode(v)
	}
}

type badRequest struct{ error }

func handleOTLP(consume func(context.Context, []byte) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := decompressed(r)
		var data []byte
		if err == nil {
			data, err = io.ReadAll(body)
		}
		if err == nil {
			err = consume(r.Context(), data)
		} else {
			err = badRequest{err}
		}
		if _, bad := err.(badRequest); bad {
			http.Error(w, err.Error(), http.StatusBadRequest)
		} else if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		} else {
			w.Header().Set("Content-Type", "application/x-protobuf")
		}
	}
}

// decompressed goes by the header and, where there is none, by the first two bytes, as the real server does.
func decompressed(r *http.Request) (io.Reader, error) {
	body := bufio.NewReader(r.Body)
	start, err := body.Peek(2)
	if err == io.EOF && len(start) == 0 {
		return body, nil
	}
	switch r.Header.Get("Content-Encoding") {
	case "gzip":
		return gzip.NewReader(body)
	case "deflate":
		return zlib.NewReader(body)
	}
	switch {
	case err != nil:
		return body, nil
	case start[0] == 0x1f && start[1] == 0x8b:
		return gzip.NewReader(body)
	case start[0]&0x0f == 8:
		return zlib.NewReader(body)
	}
	return body, nil
}
