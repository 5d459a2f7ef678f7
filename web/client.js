const texts = {
  zh: {
    title: '以文搜图',
    placeholder: '例如：一只猫',
    search: '搜索',
    picture: '以图搜图',
    other: 'English',
    searching: '正在搜索……',
    found: (n) => `找到 ${n} 张图片`,
    failed: '出错了：',
  },
  en: {
    title: 'Picture search',
    placeholder: 'for example: 一只猫',
    search: 'Search',
    picture: 'By picture',
    other: '中文',
    searching: 'Searching…',
    found: (n) => `${n} pictures`,
    failed: 'That failed: ',
  },
};

const address = new URL(location.href);
let language =
  address.searchParams.get('lang') ?? (navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en');
if (!(language in texts)) language = 'en';
const element = (id) => document.getElementById(id);
/** Answers may come in another order than they were asked for. */
let latest = 0;

function showTexts() {
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  document.title = texts[language].title;
  for (const place of document.querySelectorAll('[data-text]')) {
    place.textContent = texts[language][place.dataset.text];
  }
  element('query').placeholder = texts[language].placeholder;
  element('query').setAttribute('aria-label', texts[language].search);
  element('language').textContent = texts[language].other;
}

async function search(request) {
  const number = ++latest;
  element('status').textContent = texts[language].searching;
  try {
    const response = await request();
    const answer = await response.json();
    if (number !== latest) return;
    if (!response.ok) throw new Error(answer.error);
    element('results').replaceChildren(...answer.results.map(card));
    element('status').textContent = texts[language].found(answer.results.length);
  } catch (error) {
    if (number === latest) element('status').textContent = texts[language].failed + error.message;
  }
}

function card({ picture, name, cosine }) {
  const item = document.createElement('li');
  const image = document.createElement('img');
  image.src = `/images/${picture}`;
  image.alt = name;
  image.loading = 'lazy';
  const label = document.createElement('span');
  label.textContent = name;
  const score = document.createElement('small');
  score.textContent = `cosine ${cosine.toFixed(4)}`;
  item.append(image, label, score);
  return item;
}

function searchText(query) {
  if (query.trim() !== '') void search(() => fetch(`/search?q=${encodeURIComponent(query)}`));
}

element('form').addEventListener('submit', (event) => {
  event.preventDefault();
  const query = element('query').value;
  address.searchParams.set('q', query);
  history.replaceState(null, '', address);
  searchText(query);
});
element('picture').addEventListener('change', () => {
  const [file] = element('picture').files;
  if (file === undefined) return;
  const type = file.type || 'application/octet-stream';
  void search(() => fetch('/search', { method: 'POST', headers: { 'Content-Type': type }, body: file }));
  element('picture').value = '';
});
element('language').addEventListener('click', () => {
  language = language === 'zh' ? 'en' : 'zh';
  address.searchParams.set('lang', language);
  history.replaceState(null, '', address);
  showTexts();
});

showTexts();
element('query').value = address.searchParams.get('q') ?? '';
searchText(element('query').value);
