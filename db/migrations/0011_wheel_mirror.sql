CREATE TABLE "environment_wheels" (
	"environment_key" text NOT NULL,
	"filename" text NOT NULL,
	"sha256" text NOT NULL,
	"origin" text NOT NULL,
	CONSTRAINT "environment_wheels_environment_key_filename_pk" PRIMARY KEY("environment_key","filename")
);
--> statement-breakpoint
ALTER TABLE "environments" ADD COLUMN "wheels_kept_at" timestamp (6) with time zone;--> statement-breakpoint
ALTER TABLE "environment_wheels" ADD CONSTRAINT "environment_wheels_environment_key_environments_environment_key_fk" FOREIGN KEY ("environment_key") REFERENCES "public"."environments"("environment_key") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "environment_wheels" ADD CONSTRAINT "environment_wheels_sha256_blobs_sha256_fk" FOREIGN KEY ("sha256") REFERENCES "public"."blobs"("sha256") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "environment_wheels_by_blob" ON "environment_wheels" USING btree ("sha256");