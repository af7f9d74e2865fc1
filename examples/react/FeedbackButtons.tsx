// <FeedbackButtons token={token} gateway="https://feedback.example" comment reasons={{ incorrect: "Not correct" }} />
// React 18 and 19. The buttons are thumbstream's web component, which the gateway serves; the token comes from your server.
import { createElement, useEffect, useRef } from "react";

export type Vote = "up" | "down" | null;

export interface FeedbackDetail {
  vote: Vote;
  event: { event_id: string; event_time: number; kind?: "retract"; rating?: boolean; reasons?: string[]; comment?: string };
  status?: number; // of the reply; 0: there was none
  reason?: string;
  message?: string;
}

export interface FeedbackButtonsProps {
  token: string | null; // null: nothing can be pressed yet
  gateway: string;
  reasons?: Record<string, string>; // what is stored: what people read
  comment?: boolean;
  value?: "up" | "down" | ""; // the vote that your server knows of; leave it out if it does not
  labels?: Record<string, string>; // up, down, send, ...: other texts, other languages
  storage?: "local" | "session" | "no";
  onChange?: (detail: FeedbackDetail) => void;
  onWaiting?: (detail: FeedbackDetail) => void;
  onStored?: (detail: FeedbackDetail) => void;
  onFailed?: (detail: FeedbackDetail) => void;
}

const loaded = new Set<string>();

function load(gateway: string): void {
  if (loaded.has(gateway)) return;
  loaded.add(gateway);
  document.head.append(Object.assign(document.createElement("script"), { src: `${gateway}/widget.js` }));
}

export function FeedbackButtons(props: FeedbackButtonsProps) {
  const { token, gateway, reasons = {}, comment, value, labels = {}, storage } = props;
  const element = useRef<HTMLElement>(null);
  const latest = useRef(props);

  useEffect(() => {
    latest.current = props;
  });
  useEffect(() => load(gateway), [gateway]);
  useEffect(() => {
    const node = element.current;
    const tell = ({ type, detail }: Event & { detail?: FeedbackDetail }) => {
      const { onChange, onWaiting, onStored, onFailed } = latest.current;
      const listeners: Record<string, ((detail: FeedbackDetail) => void) | undefined> = {
        "feedback-change": onChange,
        "feedback-waiting": onWaiting,
        "feedback-stored": onStored,
        "feedback-failed": onFailed,
      };
      if (detail) listeners[type]?.(detail);
    };
    const names = ["change", "waiting", "stored", "failed"].map((name) => `feedback-${name}`);
    names.forEach((name) => node?.addEventListener(name, tell));
    return () => names.forEach((name) => node?.removeEventListener(name, tell));
  }, []);

  return createElement("feedback-buttons", {
    ref: element,
    endpoint: gateway,
    token: token ?? undefined,
    reasons: Object.entries(reasons).map((pair) => pair.join("=")).join(";") || undefined,
    comment: comment ? "" : undefined,
    value,
    storage,
    ...Object.fromEntries(Object.entries(labels).map(([name, text]) => [`label-${name}`, text])),
  });
}
