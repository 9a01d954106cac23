ALTER TABLE "runs" ADD COLUMN "trigger" jsonb;--> statement-breakpoint
ALTER TABLE "runs" ADD COLUMN "priority" integer DEFAULT 3 NOT NULL;