CREATE TABLE "checkpoint_files" (
	"run_id" uuid NOT NULL,
	"step" text NOT NULL,
	"number" integer NOT NULL,
	"path" text NOT NULL,
	"sha256" text NOT NULL,
	"size_bytes" bigint NOT NULL,
	"executable" boolean NOT NULL,
	"modified_at_ms" bigint NOT NULL,
	CONSTRAINT "checkpoint_files_run_id_step_number_path_pk" PRIMARY KEY("run_id","step","number","path")
);
--> statement-breakpoint
CREATE TABLE "checkpoint_sets" (
	"run_id" uuid NOT NULL,
	"step" text NOT NULL,
	"number" integer NOT NULL,
	"step_key" text NOT NULL,
	"fence" integer NOT NULL,
	"digest" text NOT NULL,
	"files" integer NOT NULL,
	"size_bytes" bigint NOT NULL,
	"created_at" timestamp (6) with time zone NOT NULL,
	CONSTRAINT "checkpoint_sets_run_id_step_number_pk" PRIMARY KEY("run_id","step","number")
);
--> statement-breakpoint
CREATE TABLE "initial_checkpoints" (
	"run_id" uuid PRIMARY KEY NOT NULL,
	"from_run_id" uuid NOT NULL,
	"step" text NOT NULL,
	"number" integer NOT NULL
);
--> statement-breakpoint
ALTER TABLE "attempts" ADD COLUMN "restored_from" jsonb;--> statement-breakpoint
ALTER TABLE "checkpoint_files" ADD CONSTRAINT "checkpoint_files_sha256_blobs_sha256_fk" FOREIGN KEY ("sha256") REFERENCES "public"."blobs"("sha256") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "checkpoint_files" ADD CONSTRAINT "checkpoint_files_set" FOREIGN KEY ("run_id","step","number") REFERENCES "public"."checkpoint_sets"("run_id","step","number") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "checkpoint_sets" ADD CONSTRAINT "checkpoint_sets_run_id_runs_id_fk" FOREIGN KEY ("run_id") REFERENCES "public"."runs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "initial_checkpoints" ADD CONSTRAINT "initial_checkpoints_run_id_runs_id_fk" FOREIGN KEY ("run_id") REFERENCES "public"."runs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "initial_checkpoints" ADD CONSTRAINT "initial_checkpoints_set" FOREIGN KEY ("from_run_id","step","number") REFERENCES "public"."checkpoint_sets"("run_id","step","number") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "checkpoint_files_by_blob" ON "checkpoint_files" USING btree ("sha256");--> statement-breakpoint
CREATE INDEX "initial_checkpoints_by_set" ON "initial_checkpoints" USING btree ("from_run_id","step","number");