package main

import (
	"context"
	"net"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip"
)

func (d *decoder) serveGRPC(addr string) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	ptraceotlp.RegisterGRPCServer(server, &traces{decoder: d})
	pmetricotlp.RegisterGRPCServer(server, &metrics{decoder: d})
	plogotlp.RegisterGRPCServer(server, &logs{decoder: d})
	return server.Serve(listener)
}

type traces struct {
	ptraceotlp.UnimplementedGRPCServer
	*decoder
}

func (t *traces) Export(ctx context.Context, r ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	_, err := t.otlp.ConsumeTracesWithResult(ctx, r.Traces())
	return ptraceotlp.NewExportResponse(), err
}

type metrics struct {
	pmetricotlp.UnimplementedGRPCServer
	*decoder
}

func (m *metrics) Export(ctx context.Context, r pmetricotlp.ExportRequest) (pmetricotlp.ExportResponse, error) {
	_, err := m.otlp.ConsumeMetricsWithResult(ctx, r.Metrics())
	return pmetricotlp.NewExportResponse(), err
}

type logs struct {
	plogotlp.UnimplementedGRPCServer
	*decoder
}

func (l *logs) Export(ctx context.Context, r plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	_, err := l.otlp.ConsumeLogsWithResult(ctx, r.Logs())
	return plogotlp.NewExportResponse(), err
}
