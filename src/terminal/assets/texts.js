// What the terminal says, in English and in Indonesian.

export const texts = {
  en: {
    wait: "One moment…",
    enrol_title: "Connect this terminal",
    enrol_lead: "Head office gives you a code, or a link that fills it in. It can be used once.",
    enrol_hint: "Your browser will ask whether Tidegate may show notifications. Please allow it, so that no message is missed.",
    enrol: "Connect and turn on sound",
    enrol_again: "This terminal is connected as {}. A new code connects it anew.",
    enrol_anew: "Enter a new code",
    code: "Code",
    code_empty: "Enter the code that head office gave you.",
    code_wrong: "This code is wrong, was used already, or is too old. Ask head office for a new one.",
    code_often: "Too many attempts. Wait a minute, then try again.",
    code_offline: "No connection to head office. Check the network and try again.",
    code_away: "Head office can't take the code right now. Try again in a moment.",
    cancel: "Cancel",
    close: "Close",
    revoked_title: "This terminal is no longer connected",
    revoked_lead: "Head office has ended its access. It shows no messages until it is connected again.",
    elsewhere_title: "Already open in another window",
    elsewhere_lead: "Messages pop up there. Only one window of this browser shows them, so that none is shown twice.",
    use_here: "Use this window",
    connected: "Connected",
    connecting: "Connecting…",
    offline: "No connection",
    away: "Head office away",
    offline_text: "No connection to head office. Messages that are sent meanwhile arrive as soon as it is back.",
    away_text: "Head office's Redis is away. Messages arrive as soon as it is back; what you confirm is kept until then.",
    gap: "This terminal was off for long. Messages that head office no longer keeps are not shown.",
    sound_off: "The browser keeps this page silent until you press something.",
    sound_on: "Turn on sound",
    notices_ask: "Without notifications you may miss a message while another window is in front.",
    notices_denied: "Notifications are blocked for this page. Allow them in the browser's site settings, so that no message is missed.",
    notices_on: "Allow notifications",
    messages: "Messages",
    search: "Search messages",
    older: "Show older messages",
    none_title: "No messages yet",
    none_text: "Leave this page open. New messages pop up here by themselves.",
    none_found: "Nothing found",
    none_found_text: "No message of this shop has these words.",
    only_kept: "Without connection you see the newest messages only.",
    from_head_office: "From head office",
    must_confirm: "Please confirm",
    confirm: "Confirm",
    confirmed: "Confirmed",
    ok: "OK",
    of: "{} of {}",
    valid_until: "Valid until {}",
    expired: "No longer valid",
    corrected: "Corrected",
    corrected_text: "Head office has corrected this message. This is the new text.",
    reminder_text: "Head office reminds you of this message.",
    recalled: "Recalled",
    recalled_text: "Head office has recalled this message. It no longer counts.",
    recalled_toast: "Recalled by head office: {}",
    expired_toast: "No longer valid: {}",
    picture: "Picture of the message",
    not_told: "Confirmed here; head office will know as soon as there is a connection.",
    options: "Settings",
    language: "Language",
    theme: "Appearance",
    theme_own: "As this device",
    theme_light: "Light",
    theme_dark: "Dark",
    volume: "Volume",
    try: "Try it",
    try_title: "This is how a message looks",
    try_text: "A trial on this terminal only.\nIf you hear the sound and see this, all is well.",
    install: "Install as an app",
    shop: "Shop",
    region: "Region",
    terminal: "Terminal",
    number: "Number",
    today: "Today",
    yesterday: "Yesterday",
    title_many: "({}) New messages",
  },
  id: {
    wait: "Mohon tunggu…",
    enrol_title: "Hubungkan terminal ini",
    enrol_lead: "Kantor pusat memberi Anda kode, atau tautan yang mengisinya. Kode hanya berlaku sekali.",
    enrol_hint: "Peramban akan bertanya apakah Tidegate boleh menampilkan notifikasi. Izinkan, agar tidak ada pesan yang terlewat.",
    enrol: "Hubungkan dan aktifkan suara",
    enrol_again: "Terminal ini sudah terhubung sebagai {}. Kode baru menghubungkannya ulang.",
    enrol_anew: "Masukkan kode baru",
    code: "Kode",
    code_empty: "Masukkan kode dari kantor pusat.",
    code_wrong: "Kode ini salah, sudah digunakan, atau kedaluwarsa. Mintalah kode baru kepada kantor pusat.",
    code_often: "Terlalu banyak percobaan. Tunggu satu menit, lalu coba lagi.",
    code_offline: "Tidak ada koneksi ke kantor pusat. Periksa jaringan, lalu coba lagi.",
    code_away: "Kantor pusat belum dapat menerima kode saat ini. Coba lagi sebentar lagi.",
    cancel: "Batal",
    close: "Tutup",
    revoked_title: "Terminal ini tidak lagi terhubung",
    revoked_lead: "Kantor pusat telah mengakhiri aksesnya. Tidak ada pesan yang ditampilkan sampai terminal dihubungkan kembali.",
    elsewhere_title: "Sudah terbuka di jendela lain",
    elsewhere_lead: "Pesan muncul di sana. Hanya satu jendela peramban ini yang menampilkannya, agar tidak ada yang tampil dua kali.",
    use_here: "Gunakan jendela ini",
    connected: "Terhubung",
    connecting: "Menghubungkan…",
    offline: "Tanpa koneksi",
    away: "Pusat terputus",
    offline_text: "Tidak ada koneksi ke kantor pusat. Pesan yang dikirim sementara itu akan tiba begitu koneksi kembali.",
    away_text: "Redis kantor pusat tidak dapat dihubungi. Pesan akan tiba begitu pulih; konfirmasi Anda disimpan sampai saat itu.",
    gap: "Terminal ini lama tidak aktif. Pesan yang sudah tidak disimpan kantor pusat tidak ditampilkan.",
    sound_off: "Peramban membisukan halaman ini sampai Anda menekan sesuatu.",
    sound_on: "Aktifkan suara",
    notices_ask: "Tanpa notifikasi, Anda dapat melewatkan pesan saat jendela lain sedang dibuka.",
    notices_denied: "Notifikasi diblokir untuk halaman ini. Izinkan di pengaturan situs peramban, agar tidak ada pesan yang terlewat.",
    notices_on: "Izinkan notifikasi",
    messages: "Pesan",
    search: "Cari pesan",
    older: "Tampilkan pesan yang lebih lama",
    none_title: "Belum ada pesan",
    none_text: "Biarkan halaman ini terbuka. Pesan baru akan muncul di sini dengan sendirinya.",
    none_found: "Tidak ditemukan",
    none_found_text: "Tidak ada pesan toko ini yang memuat kata tersebut.",
    only_kept: "Tanpa koneksi, hanya pesan terbaru yang ditampilkan.",
    from_head_office: "Dari kantor pusat",
    must_confirm: "Mohon konfirmasi",
    confirm: "Konfirmasi",
    confirmed: "Dikonfirmasi",
    ok: "OK",
    of: "{} dari {}",
    valid_until: "Berlaku sampai {}",
    expired: "Tidak berlaku lagi",
    corrected: "Diperbaiki",
    corrected_text: "Kantor pusat telah memperbaiki pesan ini. Ini isi yang baru.",
    reminder_text: "Kantor pusat mengingatkan Anda akan pesan ini.",
    recalled: "Ditarik",
    recalled_text: "Kantor pusat telah menarik pesan ini. Pesan ini tidak berlaku lagi.",
    recalled_toast: "Ditarik oleh kantor pusat: {}",
    expired_toast: "Tidak berlaku lagi: {}",
    picture: "Gambar pesan",
    not_told: "Sudah dikonfirmasi di sini; kantor pusat akan mengetahuinya begitu ada koneksi.",
    options: "Pengaturan",
    language: "Bahasa",
    theme: "Tampilan",
    theme_own: "Seperti perangkat ini",
    theme_light: "Terang",
    theme_dark: "Gelap",
    volume: "Volume",
    try: "Coba",
    try_title: "Beginilah tampilan sebuah pesan",
    try_text: "Percobaan di terminal ini saja.\nJika Anda mendengar suaranya dan melihat ini, semuanya baik.",
    install: "Pasang sebagai aplikasi",
    shop: "Toko",
    region: "Wilayah",
    terminal: "Terminal",
    number: "Nomor",
    today: "Hari ini",
    yesterday: "Kemarin",
    title_many: "({}) Pesan baru",
  },
};

const KEPT = "tidegate-language";
const languages = Object.keys(texts);
const own = (tag) => languages.find((known) => known === String(tag).toLowerCase().split("-")[0]);

let lang = own(localStorage.getItem(KEPT)) ?? navigator.languages.map(own).find(Boolean) ?? "en";

export const language = () => lang;

export function speak(chosen) {
  lang = own(chosen) ?? lang;
  localStorage.setItem(KEPT, lang);
}

/** The text of this name; each {} takes one of the values. */
export function say(name, ...values) {
  let text = texts[lang][name] ?? name;
  for (const value of values) text = text.replace("{}", () => String(value));
  return text;
}

/** Puts texts where the page asks for them. */
export function inscribe(root = document) {
  document.documentElement.lang = lang;
  for (const one of root.querySelectorAll("[data-text]")) one.textContent = say(one.dataset.text);
  for (const one of root.querySelectorAll("[data-placeholder]")) one.placeholder = say(one.dataset.placeholder);
  for (const one of root.querySelectorAll("[data-label]")) {
    one.setAttribute("aria-label", say(one.dataset.label));
    one.title = say(one.dataset.label);
  }
}

const format = (options) => new Intl.DateTimeFormat(lang, { hourCycle: "h23", ...options });

const day = (ms) => new Date(ms).toDateString();

/** The day of a moment, for a heading: today, yesterday, or the date. */
export function dayOf(ms) {
  if (day(ms) === day(Date.now())) return say("today");
  if (day(ms) === day(Date.now() - 86_400_000)) return say("yesterday");
  return format({ dateStyle: "full" }).format(ms);
}

export const clockOf = (ms) => format({ timeStyle: "short" }).format(ms);

/** A moment in few words: the time alone where it is today's. */
export const momentOf = (ms) =>
  day(ms) === day(Date.now()) ? clockOf(ms) : format({ dateStyle: "medium", timeStyle: "short" }).format(ms);
