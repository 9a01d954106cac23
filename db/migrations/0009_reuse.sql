CREATE TABLE "verdicts" (
	"run_id" uuid PRIMARY KEY NOT NULL,
	"original_id" uuid NOT NULL,
	"verdict" text NOT NULL,
	"grade" text NOT NULL,
	"report" jsonb NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
ALTER TABLE "executions" ADD COLUMN "rerun" text[] DEFAULT '{}'::text[] NOT NULL;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "reproduces" uuid;--> statement-breakpoint
ALTER TABLE "steps" ADD COLUMN "reusable" boolean;--> statement-breakpoint
ALTER TABLE "verdicts" ADD CONSTRAINT "verdicts_run_id_runs_id_fk" FOREIGN KEY ("run_id") REFERENCES "public"."runs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "verdicts" ADD CONSTRAINT "verdicts_original_id_runs_id_fk" FOREIGN KEY ("original_id") REFERENCES "public"."runs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "verdicts_by_original" ON "verdicts" USING btree ("original_id");--> statement-breakpoint
ALTER TABLE "runs" ADD CONSTRAINT "runs_resumed_from_runs_id_fk" FOREIGN KEY ("resumed_from") REFERENCES "public"."runs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "runs" ADD CONSTRAINT "runs_reproduces_runs_id_fk" FOREIGN KEY ("reproduces") REFERENCES "public"."runs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "steps" ADD CONSTRAINT "steps_reused_from_runs_id_fk" FOREIGN KEY ("reused_from") REFERENCES "public"."runs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "runs_by_original" ON "runs" USING btree ("reproduces") WHERE reproduces is not null;--> statement-breakpoint
CREATE INDEX "steps_reusable" ON "steps" USING btree ("step_key","finished_at") WHERE status = 'succeeded' and reusable;